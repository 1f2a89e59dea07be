/**
 * Attack: what a client, a hello or an origin says is put on record, and whoever reads the record is to be misled: a
 * forged line, an escape for the terminal, a field of their own, a label of their own. Each exchange stays one line of
 * printable ASCII with the documented keys, and no series is added to the metrics.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alpn, clientHello, helloFor, serverName, supportedVersions } from "../support/hello.ts";
import { type PlainHttp, exchange, expectServing, requestFor, startPlainHttp } from "../support/plain-http.ts";
import type { LogLine } from "../support/sallyport.ts";

const tunnelHost = "tunnel.example.com";

let plain: PlainHttp;
let written = "";
beforeAll(async () => {
  plain = await startPlainHttp({
    policy: {
      rules: [
        { id: "plain", hosts: ["plain.example.com"], expect: "http", methods: ["GET", "HEAD", "POST"], range: "allow" },
        { id: "tunnel", hosts: [tunnelHost], expect: ["https:80", "https"] },
        { id: "raw", hosts: ["raw.example.com"], expect: "tcp:80" },
      ],
    },
    settings: { limits: { hello_timeout: "300ms" }, log: { paths: true } },
  });
  plain.sallyport.process.stdout!.on("data", (bytes: Buffer) => (written += bytes.toString("latin1")));
});
afterAll(() => plain.stop());

/** Every key of a line of an exchange that configuration.md names. */
const keys = new Set(
  [
    "time level event verdict would reason denial rule mode stage listener client group method scheme host port sni tls",
    "alpn range status bytes_up bytes_down dial_ms duration_ms upstream closed_by policy id outcome nearest path",
  ].flatMap((words) => words.split(" ")),
);

/** What the proxy has written since, line by line, when the exchange is over and another one has been served. */
async function linesOf(exchanges: () => Promise<void>): Promise<readonly LogLine[]> {
  const position = plain.sallyport.log.length;
  const from = written.length;
  await exchanges();
  await expectServing(plain);
  await plain.sallyport.logged((line) => plain.sallyport.log.indexOf(line) >= position && line["path"] === "/serving");
  const text = written.slice(from);
  expect(text).toMatch(/^[ -~\n]*$/);
  const lines = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogLine);
  for (const line of lines) {
    expect(Object.keys(line).filter((key) => !keys.has(key))).toEqual([]);
    expect(["connect", "request"]).toContain(line["event"]);
  }
  return lines.filter((line) => line["path"] !== "/serving");
}
const forged = '{"time":"2026-01-01T00:00:00Z","event":"start"}';

describe("what is in a request is one value of one line", () => {
  const connect = (target: string): string => `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
  const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`;
  const cases: Readonly<Record<string, string>> = {
    "a line feed in the path": get(`http://plain.example.com/a\n${forged}`),
    "an encoded line feed in the path": get(`http://plain.example.com/a%0d%0a${encodeURI(forged)}`),
    "a bare CR in the path": get(`http://plain.example.com/a\r${forged}`),
    "an escape in the path": get("http://plain.example.com/\x1b]0;owned\x07\x1b[2J"),
    "quotes and a field in the path": get('http://plain.example.com/","verdict":"allow","x":"'),
    "a backslash at the end of the path": get("http://plain.example.com/a\\"),
    "latin1 in the path": get("http://plain.example.com/caf\xe9\x9b31m\x85"),
    "DEL in the path": get("http://plain.example.com/a\x7fb"),
    "a line feed in the host": get(`http://plain.example.com\n${forged}/`),
    "an escape in the host": get("http://\x1b[31mplain.example.com/"),
    "quotes in the host": get('http://a","verdict":"allow/'),
    "latin1 in the host": get("http://caf\xe9.example.com/"),
    "a host of 8,000 letters": get(`http://${"a".repeat(8000)}.example.com/`),
    "a line feed in CONNECT": connect(`a\n${forged}:443`),
    "an escape in CONNECT": connect("\x1b[31ma:443"),
    "quotes in CONNECT": connect('a","verdict":"allow","x":":443'),
    "latin1 in CONNECT": connect("caf\xe9.example.com:443"),
    "a method with quotes": `G"E"T http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`,
    "a method with an escape": `\x1b[31mGET http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`,
    "a method in latin1": `G\xcbT http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`,
    "a method of 8,000 letters": `${"A".repeat(8000)} http://plain.example.com/ HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`,
    "a version with quotes": 'GET http://plain.example.com/ HTTP/1.1","x":"\r\nHost: plain.example.com\r\n\r\n',
    "quotes in Host": 'GET http://plain.example.com/ HTTP/1.1\r\nHost: a","verdict":"allow\r\n\r\n',
    "quotes in Range": requestFor("/", ['Range: bytes=0-1","verdict":"deny","x":"']),
    "latin1 in Range": requestFor("/", ["Range: bytes=\x85\x9b31m\xe9"]),
    "a line feed in Range": requestFor("/", [`Range: bytes=0-1\n${forged}`]),
  };
  test.each(Object.entries(cases))("%s", async (_, request) => {
    let status = 0;
    const lines = await linesOf(async () => {
      const client = await plain.connect();
      client.send(request);
      status = (await client.readHead()).status;
      client.close();
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ status, verdict: status === 200 ? "allow" : "deny" });
    // What went through is on record as it was sent.
    const [, path] = /^GET http:\/\/[^/]*(\S*) HTTP\/1\.1\r\n/.exec(request) ?? [];
    if (status === 200) expect(lines[0]!["path"]).toBe(path);
  });

  test("what is long is cut: a path of 20,000 characters, a range of 10,000", async () => {
    const requests = [
      requestFor(`/${'"'.repeat(20_000)}`),
      requestFor(`/${"\\".repeat(4000)}`),
      requestFor("/range", [`Range: bytes=${"0-1,".repeat(2500)}`]),
    ];
    const lines = await linesOf(async () => {
      for (const request of requests) (await exchange(plain, request)).client.close();
    });
    expect(lines).toHaveLength(requests.length);
    for (const line of lines) {
      expect(JSON.stringify(line["path"]).length).toBeLessThanOrEqual(2 * 2048 + 2);
      expect(JSON.stringify(line["range"] ?? "").length).toBeLessThanOrEqual(2 * 256 + 2);
      // The longest value there is, with every character of it escaped.
      expect(JSON.stringify(line).length).toBeLessThan(2048 * 6 + 2048);
    }
  });
});

describe("what is in a hello is one value of one line", () => {
  const names: Readonly<Record<string, string>> = {
    "a line feed in the name": `a\n${forged}`,
    "an escape in the name": "\x1b[31mtunnel.example.com",
    "quotes in the name": 'a","verdict":"allow","x":"',
    "a NUL in the name": `${tunnelHost}\0.evil.test`,
    "latin1 in the name": "caf\xe9.example.com",
    "a space in the name": "tunnel example.com",
    "a name of 4,000 letters": `${"a".repeat(4000)}.example.com`,
  };
  const cases: Readonly<Record<string, Uint8Array>> = {
    ...Object.fromEntries(
      Object.entries(names).map(([sentence, name]): [string, Uint8Array] => [
        sentence,
        clientHello({ extensions: [serverName(Buffer.from(name, "latin1")), supportedVersions(0x0304)] }),
      ]),
    ),
    ...Object.fromEntries(
      [`h2\n${forged}`, "\x1b[31m", '","verdict":"deny","x":"', "\x85\x9b\xff", "a".repeat(255)].map(
        (protocol): [string, Uint8Array] => [
          `the protocol ${JSON.stringify(protocol.slice(0, 20))} in ALPN`,
          clientHello({
            extensions: [
              serverName(tunnelHost),
              supportedVersions(0x0304),
              alpn(Buffer.from(protocol, "latin1"), "h2"),
            ],
          }),
        ],
      ),
    ),
  };
  test.each(Object.entries(cases))("%s", async (sentence, hello) => {
    const before = plain.origin.bytesReceived();
    const lines = await linesOf(async () => {
      const client = await plain.connect();
      client.send(`CONNECT ${tunnelHost}:80 HTTP/1.1\r\nHost: ${tunnelHost}:80\r\n\r\n`);
      expect((await client.readHead()).status).toBe(200);
      client.send(hello);
      await client.waitClose();
      client.close();
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ event: "connect", host: tunnelHost });
    if (sentence.includes(" name")) {
      expect(lines[0]).toMatchObject({ verdict: "deny", reason: "hello_malformed" });
      const serving = "GET /serving HTTP/1.1".length;
      expect(plain.origin.bytesReceived() - before).toBeLessThan(serving + 200);
    }
  });
});

describe("the metrics have the series they had", () => {
  async function seriesOf(name: RegExp): Promise<readonly string[]> {
    const text = await (await fetch(`http://127.0.0.1:${plain.sallyport.adminPort}/metrics`)).text();
    return text.split("\n").filter((line) => name.test(line) && !line.startsWith("#"));
  }
  /** Without their values, and without the one metric that names hosts. */
  const series = async (): Promise<readonly string[]> =>
    (await seriesOf(/^sallyport_(?!top_denials\{)/)).map((line) => line.replace(/ \S+$/, ""));
  const ask = async (request: string): Promise<void> => {
    const client = await plain.connect();
    client.send(request);
    await client.readHead();
    client.close();
  };
  const random = (i: number): string => `r${i}-${Math.imul(i + 1, 2_654_435_761) >>> 0}`;
  const floods: Readonly<Record<string, (i: number) => Promise<void>>> = {
    "hosts of requests": (i) => ask(requestFor("/", [], "GET", `${random(i)}.example.org`)),
    "hosts of tunnels": (i) => ask(`CONNECT ${random(i)}.test:443 HTTP/1.1\r\nHost: ${random(i)}.test\r\n\r\n`),
    ports: (i) => ask(`CONNECT plain.example.com:${1000 + i} HTTP/1.1\r\nHost: plain.example.com\r\n\r\n`),
    addresses: (i) => ask(`CONNECT 10.1.2.${i}:443 HTTP/1.1\r\nHost: 10.1.2.${i}\r\n\r\n`),
    methods: (i) => ask(requestFor("/", [], ["PROPFIND", "LOCK", "PURGE", "SEARCH", "TRACE", `X${random(i)}`][i % 6])),
    paths: (i) => ask(requestFor(`/${random(i)}?${random(i)}`)),
    ranges: (i) => ask(requestFor("/", [`Range: ${random(i)}=${i}-`])),
    "agents and users": (i) =>
      ask(
        requestFor("/", [
          `User-Agent: ${random(i)}`,
          `Proxy-Authorization: Basic ${random(i)}`,
          `Via: 1.1 ${random(i)}`,
        ]),
      ),
    "statuses of an origin": async (i) => {
      plain.scripts.set(`/status-${i}`, `HTTP/1.1 ${200 + 13 * i} X${random(i)}\r\nContent-Length: 0\r\n\r\n`);
      await exchange(plain, requestFor(`/status-${i}`, [], "HEAD"));
    },
    "names in hellos": async (i) => {
      const client = await plain.connect();
      client.send(`CONNECT ${tunnelHost}:80 HTTP/1.1\r\nHost: ${tunnelHost}:80\r\n\r\n`);
      await client.readHead();
      client.send(helloFor(`${random(i)}.example.com`));
      await client.waitClose();
      client.close();
    },
  };
  test.each(Object.entries(floods))("after 30 %s", async (_, ask) => {
    const before = await series();
    expect(before.length).toBeGreaterThan(100);
    for (let i = 0; i < 30; i++) await ask(i);
    expect(await series()).toEqual(before);
    await expectServing(plain);
  });

  test("but for the one that names hosts, which has as many as its slots, and names nothing else", async () => {
    const named = await seriesOf(/^sallyport_top_denials\b/);
    expect(named.length).toBeGreaterThan(0);
    expect(named.length).toBeLessThanOrEqual(20);
    for (const line of named) {
      expect(line).toMatch(/^\w+\{host="[a-z\d.:[\]-]{0,255}",reason="[a-z_]+",group="_none",id="[\dA-Z-]{11}"\} \d+$/);
    }
  });

  test("and no label that anybody but the administrator has worded", async () => {
    expect((await series()).join("\n")).not.toMatch(/r\d+-\d+|example\.(com|org)|127\.0\.0\.|PROPFIND|PURGE/);
  });
});

test("nothing was said on the terminal but the greeting", () => {
  expect(plain.sallyport.stderr()).toMatch(/^[ -~\n]*\/metrics\n\n$/);
});
