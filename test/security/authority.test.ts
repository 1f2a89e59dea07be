/**
 * Attack: an authority that two readers take for two hosts. What is not spelled canonically is refused, and never
 * repaired; what is only another spelling of the same name (case, one trailing dot) is decided and dialled as that name.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { helloFor } from "../support/hello.ts";
import { type Sallyport, startSallyport } from "../support/sallyport.ts";
import type { TcpOrigin } from "../support/tls-origin.ts";
import {
  decisions,
  expectDenied,
  expectServing,
  openTunnel,
  record,
  sendConnect,
  startHelloOrigin,
} from "../support/tunnel.ts";

const host = "good.example.com";
let origin: TcpOrigin;
let proxy: Sallyport;

beforeAll(async () => {
  origin = await startHelloOrigin();
  proxy = await startSallyport({
    policy: {
      rules: [
        { id: "good", hosts: [host], expect: "https" },
        // Whatever a reader might make of the spellings below would be allowed.
        { id: "loopback", addresses: ["127.0.0.0/8", "::/0", "0.0.0.0/8"], expect: ["https", "tcp:80"] },
      ],
    },
    settings: { connect_to: [`*::127.0.0.1:${origin.port}`], via: "pseudonym" },
  });
});
afterAll(async () => {
  await proxy.stop();
  await origin.close();
});

/** All of them 400, whoever finds it out. */
const malformed: Readonly<Record<string, string>> = {
  "no port": host,
  "an empty port": `${host}:`,
  "port 0": `${host}:0`,
  "port 65536": `${host}:65536`,
  "a port beyond 32 bits": `${host}:4294967739`,
  "a port with a sign": `${host}:+443`,
  "a hexadecimal port": `${host}:0x1bb`,
  "a port with a leading zero": `${host}:0443`,
  "a port by name": `${host}:https`,
  "two ports": `${host}:443:443`,
  "a port and a path": `${host}:443/`,
  "an empty host": ":443",
  "two trailing dots": `${host}..:443`,
  "a leading dot": `.${host}:443`,
  "an empty label": "good..example.com:443",
  "a single dot": ".:443",
  "brackets round a name": `[${host}]:443`,
  "double brackets": `[[${host}]]:443`,
  "brackets round an IPv4 address": "[127.0.0.1]:443",
  "an open bracket": "[::1:443",
  "a zone id": "[fe80::1%25lo]:443",
  "an IPv6 address without brackets": "::1:443",
  "user information": `user@${host}:443`,
  "an allowed host as user information": `${host}:443@evil.test:443`,
  "a fragment": `evil.test:443#@${host}:443`,
  "a fragment after the host": `evil.test#${host}:443`,
  "a query": `evil.test?${host}:443`,
  "a backslash": `evil.test\\${host}:443`,
  "a percent sign": "good%2eexample.com:443",
  "an encoded letter": "%67ood.example.com:443",
  "a NUL in the name": `${host}\0.evil.test:443`,
  "a tab in the name": `good\t.example.com:443`,
  "raw UTF-8": "g\u00c3\u00b6od.example.com:443",
  "a fullwidth letter": "\u00ef\u00bd\u0087ood.example.com:443",
  "an ideographic full stop": "good\u00e3\u0080\u0082example.com:443",
  "a comma": `${host},evil.test:443`,
  "a semicolon": `${host};evil.test:443`,
  "a star": "*.example.com:443",
  "an underscore of another alphabet": "good.example.com\u00a0:443",
  "a label of 64 letters": `${"a".repeat(64)}.example.com:443`,
  "a name of 254 letters": `${"abcdefg.".repeat(31)}abcdef:443`,
  "an absolute form": `http://${host}:443/`,
  "an origin form": "/",
  "an asterisk": "*",
  "one number for an address": "2130706433:443",
  "a hexadecimal address": "0x7f000001:443",
  "a hexadecimal last label": "127.0.0.0x1:443",
  "an octal address": "0177.0.0.1:443",
  "a short address": "127.1:443",
  "a zero": "0:443",
  "an address with a trailing dot": "127.0.0.1.:443",
  "five numbers": "1.127.0.0.1:443",
  "a number too large": "127.0.0.256:443",
};

describe("an authority that could be read in two ways is refused with 400 before anybody is asked", () => {
  for (const [sentence, target] of Object.entries(malformed)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, target, { fields: [`Host: ${host}`] });
      await expectDenied(on, client, { status: 400, reason: "bad_request", error: "http_request_error" });
      client.close();
    });
  }

  test("and the process serves the next client", () => expectServing(proxy));
});

/** Request heads that are bad whatever the target; the target is an allowed one. */
const badHeads: Readonly<Record<string, { readonly fields: readonly string[]; readonly behind?: string }>> = {
  "two Host fields that agree": { fields: [`Host: ${host}`, `Host: ${host}`] },
  "two Host fields that differ": { fields: [`Host: ${host}:443`, "Host: evil.test:443"] },
  "an empty Host": { fields: ["Host:"] },
  "a Host with user information": { fields: [`Host: user@${host}`] },
  "a Host with a path": { fields: [`Host: ${host}/`] },
  "a Host list": { fields: [`Host: ${host}, evil.test`] },
  "a Host with a bad port": { fields: [`Host: ${host}:99999`] },
  "a Content-Length": { fields: [`Host: ${host}`, "Content-Length: 4"], behind: "body" },
  "a chunked body": { fields: [`Host: ${host}`, "Transfer-Encoding: chunked"], behind: "0\r\n\r\n" },
  both: { fields: [`Host: ${host}`, "Content-Length: 5", "Transfer-Encoding: chunked"], behind: "0\r\n\r\n" },
  "a Content-Length that is no number": { fields: [`Host: ${host}`, "Content-Length: +4"], behind: "body" },
  "white space before a colon": { fields: [`Host : ${host}`] },
  "a folded field": { fields: [`Host: ${host}`, " continued"] },
  "a NUL in a value": { fields: [`Host: ${host}`, "X: a\0b"] },
};

describe("a CONNECT whose head is malformed is refused with 400", () => {
  for (const [sentence, { fields, behind = "" }] of Object.entries(badHeads)) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, `${host}:443`, { fields, behind });
      await expectDenied(on, client, { status: 400, reason: "bad_request", error: "http_request_error" });
      client.close();
      await expectServing(proxy);
    });
  }

  test("more fields than the limit are 431, and counted as that limit's doing", async () => {
    const on = await record(proxy, origin);
    const fields = [`Host: ${host}`, ...Array.from({ length: 200 }, (_, i) => `X-${i}: 1`)];
    const client = await sendConnect(proxy, `${host}:443`, { fields });
    await expectDenied(on, client, { status: 431, reason: "bad_request", error: "http_request_error" });
    client.close();
    expect(await on.growth('sallyport_limit_rejections_total{limit="fields"}')).toBe(1);
  });
});

describe("a Host field beside the target", () => {
  for (const [sentence, value] of Object.entries({
    "another allowed name": "127.0.0.1:443",
    "a denied name": "evil.test:443",
    "a parent domain": "example.com",
  })) {
    test(`${sentence} is host_mismatch`, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, `${host}:443`, { fields: [`Host: ${value}`] });
      await expectDenied(on, client, { status: 403, reason: "host_mismatch" });
      client.close();
      await expectServing(proxy);
    });
  }

  for (const [sentence, fields] of Object.entries({
    "without a port": [`Host: ${host}`],
    "with another port: only the host part counts": [`Host: ${host}:80`],
    "in another case and with a trailing dot": ["Host: GOOD.example.COM."],
    "is missing, as old agents leave it out": [],
  })) {
    test(`${sentence} opens the tunnel`, async () => {
      const client = await sendConnect(proxy, `${host}:443`, { fields });
      expect((await client.readHead()).status).toBe(200);
      client.close();
    });
  }

  test("may be missing in HTTP/1.0, which gets a 200 too", async () => {
    const client = await sendConnect(proxy, `${host}:443 HTTP/1.0\r\nX: y`, { fields: [] });
    // The helper's own " HTTP/1.1" lands in the value of X.
    expect((await client.readHead()).status).toBe(200);
    client.close();
  });
});

describe("spellings of one name are one name, for the policy, the log and the origin", () => {
  for (const [sentence, target] of Object.entries({
    "upper case": "GOOD.EXAMPLE.COM:443",
    "one trailing dot": `${host}.:443`,
    both: "Good.Example.Com.:443",
  })) {
    test(sentence, async () => {
      const on = await record(proxy, origin);
      const client = await openTunnel(proxy, target, { behind: helloFor(host) });
      await client.readBytes(5);
      client.end();
      await client.readAll();
      client.close();
      expect(await on.line()).toMatchObject({ verdict: "allow", host, port: 443, sni: host, rule: "site/good" });
      expect(await on.growth(decisions("allow", "allowed"))).toBe(1);
    });
  }
});

describe("what a client says about itself changes nothing", () => {
  test("a Via that names this proxy is a loop: 502, and nobody is dialled", async () => {
    const on = await record(proxy, origin);
    const client = await sendConnect(proxy, `${host}:443`, {
      fields: [`Host: ${host}`, "Via: 1.1 other, 1.1 Pseudonym"],
    });
    const head = await client.readHead();
    expect(head.status).toBe(502);
    expect(head.reason).toBe("Failed: proxy_loop_detected");
    expect(head.headers.get("proxy-status")).toBe("sallyport; error=proxy_loop_detected");
    client.close();
    expect(await on.line()).toMatchObject({ status: 502, outcome: "proxy_loop_detected", host });
    expect(await on.growth('sallyport_tunnels_total{result="proxy_loop_detected"}')).toBe(1);
    expect(on.atOrigin()).toEqual({ connections: 0, bytes: 0 });
    await expectServing(proxy);
  });

  test("a Via of others, or one that only contains the pseudonym, is none of ours", async () => {
    const client = await sendConnect(proxy, `${host}:443`, {
      fields: ["Via: 1.1 pseudonym2, 1.0 a.pseudonym (pseudonym)"],
    });
    expect((await client.readHead()).status).toBe(200);
    client.close();
  });

  for (const field of [
    "X-Forwarded-For: 10.0.0.1",
    "X-Upstream-Https-Proxy: http://evil.test",
    "Forwarded: for=10.0.0.1;host=evil.test",
    "Proxy-Authorization: Basic eDp5",
  ]) {
    test(`${field.split(":")[0]} is not listened to`, async () => {
      const on = await record(proxy, origin);
      const client = await sendConnect(proxy, "evil.test:443", { fields: [field] });
      await expectDenied(on, client, { status: 403, reason: "no_rule" });
      client.close();
    });
  }
});
