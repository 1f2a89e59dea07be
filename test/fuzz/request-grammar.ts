/** Requests that are nearly right: a grammar with a few wrong words among many right ones. */
import type { Random } from "./random.ts";

/** What must never become a request of its own. */
export const smuggled = "GET http://plain.example.com/smuggled HTTP/1.1\r\nHost: plain.example.com\r\n\r\n";

/** Whole connections that are well-formed: what mutation begins with. */
export const requestSeeds: readonly string[] = [
  request("GET", "/a"),
  request("POST", "/b", ["Content-Length: 5"], "hello"),
  request("DELETE", "/c", ["Transfer-Encoding: chunked"], chunked([smuggled])),
  request("OPTIONS", "/d", ["Max-Forwards: 3", "Transfer-Encoding: chunked"], chunked(["a", "bc"], ";x=1")),
  request("GET", "/e", ["Connection: Upgrade, X", "Upgrade: h2c", "X: 1", "HTTP2-Settings: AAA"]) +
    request("GET", "/f"),
  request("PUT", "/g", ["Expect: 100-continue", "Content-Length: 3"], "abc") + request("HEAD", "/h"),
  request("GET", "/i", [
    "Range: bytes=0-1",
    "TE: trailers",
    "Trailer: X",
    "Cookie: a=b",
    "Cookie: c=d",
    "Via: 1.0 fred",
  ]),
  request("POST", "/j", ["Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\nX-Check: 1\r\n\r\n") + request("GET", "/k"),
  "GET http://plain.example.com/l HTTP/1.0\r\n\r\n",
];

const methods = [
  "GET",
  "GET",
  "POST",
  "PUT",
  "DELETE",
  "OPTIONS",
  "HEAD",
  "PATCH",
  "PROPFIND",
  "CONNECT",
  "TRACE",
  "get",
];
const hosts = ["plain.example.com", "second.example.com", "strip.example.com", "get-only.example.com"];
const oddHosts = [
  "denied.example.com",
  "PLAIN.example.com.",
  "plain.example.com:80",
  "plain.example.com:8080",
  "evil.test",
];
const oddTargets = [
  "/",
  "*",
  "https://plain.example.com/",
  "http://a@plain.example.com/",
  "http://plain.example.com#/",
];
const paths = ["/", "", "?q", "/a//b/../c?x=%0d%0a", "/a b", "//evil.test/", "/\xe9", "/http://evil.test/", "/%00"];
const goodFields = [
  "Accept: */*",
  "Cookie: a=b",
  "Cookie: c=d",
  "X-Empty:",
  "User-Agent: x y",
  "X-Text: \xe9\x80",
  "Via: 1.1 other",
  "Connection: keep-alive",
  "Range: bytes=0-1,3-",
  "Proxy-Connection: keep-alive",
  "TE: trailers",
  "Max-Forwards: 2",
];
const oddFields = [
  "Connection: close",
  "Connection: Host",
  "Connection: Content-Length, X-Text",
  "Connection: Transfer-Encoding",
  "Upgrade: h2c",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "HTTP2-Settings: AA",
  "Expect: 100-continue",
  "Host: evil.test",
  "Host: plain.example.com",
  "Content-Length: 7",
  "Content-Length: 0",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip, chunked",
  "Trailer: X",
  "Range: bytes=5-1",
  "Request-Range: bytes=0-1",
  "X : y",
  " X: y",
  "Max-Forwards: 0",
  "Expect: nothing",
  "__proto__: 1",
  "constructor: 1",
  "X: a\x01b",
  "X: a\rb",
  "X: a\nb",
  ": x",
];

/** One to four requests on one connection. */
export function generateRequests(random: Random): string {
  return Array.from({ length: 1 + random.below(4) }, () => generateRequest(random)).join(
    random.chance(0.95) ? "" : "\r\n",
  );
}

function generateRequest(random: Random): string {
  const isOdd = (): boolean => random.chance(0.08);
  const host = random.pick(isOdd() ? oddHosts : hosts);
  const target = isOdd() ? random.pick(oddTargets) : `http://${host}${random.pick(paths)}`;
  const fields = [`Host: ${isOdd() ? random.pick(oddHosts) : host}`];
  for (let left = random.below(4); left > 0; left--) fields.push(random.pick(goodFields));
  if (random.chance(0.25)) fields.push(random.pick(oddFields));
  const content = random.pick(["", "hello", smuggled, "0\r\n\r\n", "\r\n\r\n"]);
  const framing = random.pick(["none", "none", "length", "chunked"]);
  if (framing === "length") fields.push(`Content-Length: ${content.length + (isOdd() ? random.pick([-1, 1, 3]) : 0)}`);
  if (framing === "chunked")
    fields.push(`${random.pick(["Transfer-Encoding", "transfer-encoding"])}: ${random.pick(["chunked", "Chunked"])}`);
  if (isOdd()) fields.reverse();
  const version = isOdd() ? random.pick(["1.0", "2.0", "1.2"]) : "1.1";
  const head = [`${random.pick(methods)} ${target} HTTP/${version}`, ...fields, "", ""].join("\r\n");
  if (framing === "none") return head;
  if (framing === "length") return head + content;
  const half = random.below(content.length + 1);
  const extension = random.chance(0.3) ? random.pick([";a", ";a=b", ';a="b;c"', " ;a", ';a="\r\n"', ";\x01"]) : "";
  const trailer = random.chance(0.1)
    ? random.pick(["X: 1\r\n", "Host: evil.test\r\n", "Content-Length: 9\r\n", "X\r\n"])
    : "";
  return head + chunked([content.slice(0, half), content.slice(half)], extension, trailer);
}

function request(method: string, path: string, fields: readonly string[] = [], body = ""): string {
  const lines = [`${method} http://plain.example.com${path} HTTP/1.1`, "Host: plain.example.com", ...fields];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

function chunked(chunks: readonly string[], extension = "", trailer = ""): string {
  const whole = chunks.filter((chunk) => chunk !== "");
  return `${whole.map((chunk) => `${chunk.length.toString(16)}${extension}\r\n${chunk}\r\n`).join("")}0\r\n${trailer}\r\n`;
}
