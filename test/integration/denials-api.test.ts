import { afterEach, describe, expect, test } from "vitest";
import type { OfferPacks } from "../../src/admin/denial-proposal.ts";
import type { Admin, AdminOptions } from "../../src/admin/server.ts";
import { type Denials, createDenials } from "../../src/record/denials.ts";
import { adminWith } from "../support/admin.ts";
import { rule, rulesetOf } from "../support/policy.ts";
import { sightingWith } from "../support/sighting.ts";

const ruleset = rulesetOf(
  [
    rule({ id: "payload", hosts: ["*.dl.example"], expect: ["http"], range: "allow" }),
    rule({ id: "agent", hosts: ["agent.example"], expect: ["https"] }),
  ],
  [{ name: "servers", addresses: ["10.20.0.0/16"] }],
);
const denied = sightingWith({
  id: "TTJNQ-1CQ9M",
  host: "x.dl.example",
  rule: "site/payload",
  nearest: "site/payload",
  atMs: Date.UTC(2026, 10, 21, 10),
});

const running: Admin[] = [];
const aborts: AbortController[] = [];
afterEach(async () => {
  for (const abort of aborts.splice(0)) abort.abort();
  await Promise.all(running.splice(0).map((admin) => admin.close()));
});

type Started = { readonly denials: Denials; readonly url: string };

async function start(changes: Partial<AdminOptions> = {}, offerPacks?: OfferPacks): Promise<Started> {
  const now = (): number => Date.UTC(2026, 10, 21, 12);
  const denials = createDenials({ topSlots: 0, now });
  const admin = adminWith({
    denials: { denials, ruleset: () => ruleset, ...(offerPacks === undefined ? {} : { offerPacks }) },
    now,
    ...changes,
  });
  running.push(admin);
  return { denials, url: `http://127.0.0.1:${await admin.listen()}` };
}

type Json = Readonly<Record<string, unknown>>;

async function get(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; body: Json; text: string }> {
  const response = await fetch(url, { headers: { connection: "close", ...headers } });
  const text = await response.text();
  return { status: response.status, text, body: text.startsWith("{") ? (JSON.parse(text) as Json) : {} };
}

describe("/api/denials", () => {
  test("lists causes, the newest first, with all that is known", async () => {
    const { denials, url } = await start();
    denials.add(sightingWith({ host: "old.example", id: "AAAAA-AAAAA" }));
    denials.add(denied);
    denials.add({ ...denied, client: "10.20.1.5", would: true, mode: "report", range: "bytes=0-1" });
    const { status, body } = await get(`${url}/api/denials?limit=1`);
    expect(status).toBe(200);
    expect(body).toEqual({
      denials: [
        {
          id: "TTJNQ-1CQ9M",
          verdict: "allow",
          would: "deny",
          reason: "scheme_mismatch",
          rule: "site/payload",
          nearest: "site/payload",
          mode: "report",
          stage: "request",
          group: "_none",
          host: "x.dl.example",
          port: 443,
          protocol: "connect",
          count: 2,
          would_count: 1,
          first_seen: "2026-11-21T10:00:00.000Z",
          last_seen: "2026-11-21T10:00:00.000Z",
          clients: [
            { address: "10.20.1.4", count: 1 },
            { address: "10.20.1.5", count: 1 },
          ],
          other_clients: 0,
          last: {
            client: "10.20.1.5",
            listener: "127.0.0.1:3128",
            method: "CONNECT",
            range: "bytes=0-1",
            ech: false,
            policy: "0123456789abcdef",
            exchange: "w0-1",
          },
        },
      ],
      matched: 2,
      total: 2,
      capacity: 1024,
      since: "2026-11-21T12:00:00.000Z",
    });
  });

  test.each([
    ["a part of the host", "q=dl.exa", 1],
    ["host and port", "q=x.dl.example:443", 1],
    ["in any case", "q=SCHEME_mismatch", 2],
    ["all of several words", "q=scheme%20old", 1],
    ["a client", "q=10.20.1.4", 2],
    ["a client that is none", "q=10.20.1.40", 0],
    ["report mode", "q=would", 1],
    ["what a regular expression would be", "q=.*", 0],
    ["nothing asked", "q=", 2],
  ])("finds %s", async (_, query, matched) => {
    const { denials, url } = await start();
    denials.add(sightingWith({ host: "old.example", would: true }));
    denials.add(denied);
    expect((await get(`${url}/api/denials?${query}`)).body).toMatchObject({ matched });
  });

  test.each(["limit=0", "limit=x", "limit=-1"])("refuses %s", async (query) => {
    const { url } = await start();
    expect(await get(`${url}/api/denials?${query}`)).toMatchObject({ status: 400, body: { error: "bad_request" } });
  });
});

describe("/api/denials/ID", () => {
  test.each(["TTJNQ-1CQ9M", "ttjnq1cq9m", "TTJNQ-ICQ9M"])("explains %s, and proposes a rule", async (id) => {
    const { denials, url } = await start();
    denials.add(denied);
    denials.add(sightingWith({ host: "other.example", id: "BBBBB-BBBBB" }));
    const { status, body } = await get(`${url}/api/denials/${id}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: "TTJNQ-1CQ9M",
      causes: [
        {
          denial: { host: "x.dl.example" },
          explanation: { verdict: "deny", reason: "scheme_mismatch", rule: "site/payload", status: 403 },
          explanation_is_whole: true,
          proposal: { kind: "rule", rules: ["allow-ttjnq-1cq9m", "keep-ttjnq-1cq9m-payload"] },
          others: [{ host: "other.example" }],
        },
      ],
    });
  });

  test("takes wishes", async () => {
    const { denials, url } = await start();
    denials.add(denied);
    const { body } = await get(`${url}/api/denials/TTJNQ-1CQ9M?wide=true&ttl=1w&ticket=CHG-88`);
    const yaml = JSON.stringify(body);
    for (const part of ["*.dl.example", "expires: 2026-11-28", "CHG-88"]) expect(yaml).toContain(part);
    expect((await get(`${url}/api/denials/TTJNQ-1CQ9M?ttl=soon`)).status).toBe(400);
  });

  test.each(["AAAAA-AAAAA", "nonsense", "%00", "..%2fpolicy"])("does not know %s", async (id) => {
    const { url } = await start();
    expect(await get(`${url}/api/denials/${id}`)).toMatchObject({ status: 404, body: { error: "not_found" } });
  });

  test("shows both causes of one id", async () => {
    const { denials, url } = await start();
    denials.add(denied);
    denials.add({ ...denied, host: "agent.example" });
    expect((await get(`${url}/api/denials/TTJNQ-1CQ9M`)).body["causes"]).toHaveLength(2);
  });
});

describe("/api/why and /api/allow, as the command line asks", () => {
  const asText = { accept: "text/plain" };

  test("why, by id, in words", async () => {
    const { denials, url } = await start();
    denials.add(denied);
    const { text } = await get(`${url}/api/why?of=ttjnq1cq9m`, asText);
    expect(text).toMatch(
      /^denied: scheme_mismatch\nRule site\/payload covers this host, but expects http on port 80\.\n/,
    );
    expect(text).toContain("asked for     CONNECT x.dl.example:443\n");
    expect(text).toContain("closest rule  site/payload, test.yaml:1\n");
  });

  test("why, by host: its own causes, else those below it, else nothing", async () => {
    const { denials, url } = await start();
    denials.add(denied);
    denials.add({ ...denied, host: "y.dl.example", id: "BBBBB-BBBBB" });
    expect((await get(`${url}/api/why?of=X.dl.example.`, asText)).text).toMatch(/^denied: scheme_mismatch/);
    expect((await get(`${url}/api/why?of=dl.example`, asText)).text).toMatch(/BBBBB-BBBBB[^]*TTJNQ-1CQ9M/);
    expect((await get(`${url}/api/why?of=nobody.example`)).status).toBe(404);
    expect((await get(`${url}/api/why?of=`)).status).toBe(404);
  });

  test("what a client chose steers no terminal", async () => {
    const { denials, url } = await start();
    denials.add(sightingWith({ sni: "\u001b[31mevil\u202e", range: "\u0007", method: "G\nET" }));
    const why = await get(`${url}/api/why?of=TTJNQ-1CQ9M`, asText);
    const allow = await get(`${url}/api/allow?id=TTJNQ-1CQ9M`, asText);
    // eslint-disable-next-line no-control-regex
    expect(why.text + allow.text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
  });

  test("allow prefers a pack", async () => {
    const offers: OfferPacks = () => Promise.resolve([{ pack: "dl", rule: "dl/files", use: "dl" }]);
    const { denials, url } = await start({}, offers);
    denials.add(denied);
    const { status, text } = await get(`${url}/api/allow?id=TTJNQ-1CQ9M`, asText);
    expect([status, text.split("\n")[1]]).toEqual([200, "#   use: dl   # dl has this endpoint (dl/files)"]);
  });

  test("allow says where no rule helps", async () => {
    const { denials, url } = await start();
    denials.add(sightingWith({ host: "agent.example", reason: "sni_mismatch", sni: "evil.example", stage: "tunnel" }));
    const { status, text } = await get(`${url}/api/allow?id=TTJNQ-1CQ9M`, asText);
    expect(status).toBe(409);
    expect(text).toMatch(/^# TTJNQ-1CQ9M: no rule can allow this: [^\n]+\n# instead:\n#   - /);
  });
});

describe("/api/top", () => {
  test.each([
    ["host", "x.dl.example"],
    ["group", "_none"],
    ["rule", "site/payload"],
    ["reason", "scheme_mismatch"],
  ])("by %s", async (by, name) => {
    const { denials, url } = await start();
    denials.add(denied);
    expect((await get(`${url}/api/top?by=${by}`)).body).toEqual({
      by,
      window: "1h",
      top: [{ name, count: 1, error: 0 }],
    });
  });

  test("by nothing else", async () => {
    expect((await get(`${(await start()).url}/api/top?by=client`)).status).toBe(400);
  });
});

describe("/api/explain", () => {
  test("answers as sallyport explain --json does", async () => {
    const { url } = await start();
    const { body } = await get(
      `${url}/api/explain?request=GET%20http://x.dl.example/&range=bytes%3D0-1&client=10.20.1.4`,
    );
    expect(body).toMatchObject({
      verdict: "allow",
      reason: "allowed",
      rule: "site/payload",
      client: { address: "10.20.1.4", groups: ["servers"] },
    });
  });

  test.each([
    ["method=CONNECT&target=agent.example:443&tls=1.1", { reason: "tls_version", alert: 70 }],
    ["method=CONNECT&target=agent.example:443&no_sni=true", { reason: "sni_missing" }],
    ["method=CONNECT&target=agent.example:443&no_tls=true", { reason: "not_tls" }],
    ["method=GET&target=http://x.dl.example/&websocket=true", { reason: "scheme_mismatch" }],
    ["request=CONNECT%20agent.example:443&sni=&tls=&group=&resolved=10.0.0.1,10.0.0.2", { reason: "address_denied" }],
  ])("%s", async (query, told) => {
    expect((await get(`${(await start()).url}/api/explain?${query}`)).body).toMatchObject(told);
  });

  test.each([
    "",
    "request=nonsense",
    "request=GET%20http://a/&tls=9",
    "request=GET%20http://a/&clinet=10.0.0.1",
    "request=GET%20http://a/&group=none",
  ])("%s is a mistake", async (query) => {
    expect(await get(`${(await start()).url}/api/explain?${query}`)).toMatchObject({
      status: 400,
      body: { error: "bad_request" },
    });
  });
});

describe("/api/denials/stream", () => {
  type Reading = {
    readonly status: number;
    readonly until: (part: string) => Promise<string>;
    readonly end: Promise<string>;
  };

  async function read(url: string): Promise<Reading> {
    const abort = new AbortController();
    aborts.push(abort);
    const response = await fetch(`${url}/api/denials/stream`, { signal: abort.signal });
    let text = "";
    const waiting = new Set<() => void>();
    const end = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        for (const wake of waiting) wake();
      }
      return text;
    })();
    end.catch(() => {});
    const until = (part: string): Promise<string> =>
      new Promise((fulfil) => {
        const look = (): void => {
          if (text.includes(part)) fulfil(text);
        };
        waiting.add(look);
        look();
      });
    return { status: response.status, until, end };
  }

  const limits = {
    connections: 64,
    headBytes: 8192,
    headTimeoutMs: 5000,
    requestTimeoutMs: 10_000,
    idleTimeoutMs: 200,
  };

  test("tells every cause once, with its count", async () => {
    const { denials, url } = await start();
    const reading = await read(url);
    await reading.until("retry:");
    for (let i = 0; i < 5; i++) denials.add(denied);
    denials.add({ ...denied, host: "last.example" });
    const text = await reading.until("last.example");
    const events = [...text.matchAll(/^event: denial\ndata: (.*)\n\n/gm)].map(
      ([, data = ""]) => JSON.parse(data) as Json,
    );
    expect(events.map(({ host, count }) => [host, count])).toEqual([
      ["x.dl.example", 5],
      ["last.example", 1],
    ]);
  });

  test("keeps a silent connection open beyond the idle timeout", async () => {
    const { denials, url } = await start({ limits });
    const reading = await read(url);
    await reading.until(": keep-alive\n\n: keep-alive\n\n: keep-alive\n\n");
    denials.add(denied);
    expect(await reading.until("x.dl.example")).toContain("event: denial\n");
  });

  test("has sixteen readers at most, and room again when one leaves", async () => {
    const { url } = await start({ limits });
    for (let i = 0; i < 16; i++) expect((await read(url)).status).toBe(200);
    expect((await read(url)).status).toBe(503);
    aborts[0]?.abort();
    await expect.poll(async () => (await read(url)).status, { timeout: 5_000 }).toBe(200);
  });

  test("has no reader by HEAD, which asks for its fields alone", async () => {
    const { url } = await start({ limits });
    for (let i = 0; i < 17; i++) {
      const head = await fetch(`${url}/api/denials/stream`, { method: "HEAD", headers: { connection: "close" } });
      expect([head.status, head.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    }
    expect((await read(url)).status).toBe(200);
  });

  test("ends when the proxy drains, and does not begin again", async () => {
    let ready = true;
    const { url } = await start({ isReady: () => ready });
    const reading = await read(url);
    await reading.until("retry:");
    ready = false;
    expect(await reading.end).toBe("retry: 2000\n\n");
    expect((await read(url)).status).toBe(503);
  });
});

describe("the gate", () => {
  test.each(["denials", "denials/TTJNQ-1CQ9M", "denials/stream", "why?of=a", "allow?id=a", "top", "explain"])(
    "/api/%s wants an address as Host, like every other endpoint of the API",
    async (path) => {
      const { url } = await start();
      const { request } = await import("node:http");
      const status = await new Promise((fulfil, reject) => {
        request(`${url}/api/${path}`, { headers: { host: "evil.example" }, agent: false }, (response) => {
          response.resume();
          fulfil(response.statusCode);
        })
          .on("error", reject)
          .end();
      });
      expect(status).toBe(421);
    },
  );

  test("they do not exist where nothing is behind them", async () => {
    const admin = adminWith();
    running.push(admin);
    expect((await get(`http://127.0.0.1:${await admin.listen()}/api/denials`)).status).toBe(404);
  });
});
