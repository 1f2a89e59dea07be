/** Authorities and request targets: what is accepted is what every other reader takes it for. */
import { isIP } from "node:net";
import { type Authority, formatAuthority, parseAuthority } from "../../src/names/authority.ts";
import { formatHost } from "../../src/names/hostname.ts";
import { parseRequestTarget } from "../../src/wire/request-target.ts";
import { type FuzzPart, hold } from "./part.ts";
import { authorityWords } from "./words.ts";

const hosts = [
  "a.example.com",
  "A.Example.COM.",
  "xn--bcher-kva.example",
  "_dmarc.a-b.example",
  "192.0.2.7",
  "[2001:db8::7]",
  "[::ffff:192.0.2.7]",
  "[2001:DB8:0:0:1::0.0.0.1]",
  "localhost",
];
const ports = ["", ":80", ":443", ":8530", ":65535", ":1"];

/** Text is UTF-8 here: what Node hands over is latin1, so that this is the wider of the two. */
export function authorityPart(parse: typeof parseAuthority = parseAuthority): FuzzPart {
  return {
    name: "authority",
    seeds: hosts.flatMap((host) => ports.map((port) => Buffer.from(host + port))),
    words: authorityWords,
    maxCpuMs: 200,
    check: (input) => {
      const text = Buffer.from(input).toString();
      const authority = parse(text, 80);
      const strict = parse(text);
      if (authority === undefined) {
        hold(strict === undefined, "malformed with a default port, and well-formed without");
        return "malformed";
      }
      checkCanonical(parse, authority);
      checkOtherReaders(text, authority);
      if (strict !== undefined) {
        hold(formatAuthority(strict) === formatAuthority(authority), "the default port changes what a port says");
      }
      return `${authority.host.kind} ${strict === undefined} ${formatAuthority(authority) === text}`;
    },
  };
}

export function requestTargetPart(): FuzzPart {
  const paths = ["", "/", "/a/../b?x=1", "?q", "//evil.example/", "/%2e%2e/%00", "/a:80@b", "/*"];
  return {
    name: "request-target",
    seeds: [
      ...hosts.flatMap((host, i) => paths.map((path) => Buffer.from(`http://${host}${ports[i % 6]}${path}`))),
      ...["HTTP://a/", "https://a/", "/a", "*", "ftp://a/", "http:/a/", "http://u:p@a/"].map((text) =>
        Buffer.from(text),
      ),
    ],
    words: authorityWords,
    maxCpuMs: 200,
    check: (input) => {
      // As Node hands it over.
      const text = Buffer.from(input).toString("latin1");
      for (const method of ["GET", "OPTIONS"]) {
        const target = parseRequestTarget(method, text);
        if (target.kind === "malformed") continue;
        checkCanonical(parseAuthority, target.authority);
        checkTarget(method, text, target.authority, target.path);
      }
      const target = parseRequestTarget("GET", text);
      return target.kind === "malformed" ? target.detail : `${target.authority.host.kind} ${target.path.slice(0, 2)}`;
    },
  };
}

/** Writing and reading again changes nothing, however often. */
function checkCanonical(parse: typeof parseAuthority, authority: Authority): void {
  for (const defaultPort of [undefined, 80]) {
    const written = formatAuthority(authority, defaultPort);
    const again = parse(written, defaultPort);
    hold(again !== undefined, `${written} is written and not read`);
    hold(
      formatAuthority(again, defaultPort) === written,
      `${written} is read as ${formatAuthority(again, defaultPort)}`,
    );
    hold(again.host.kind === authority.host.kind, `${written} changes its kind`);
  }
}

/** Whoever dials the host by its text, or parses it as a URL, arrives where the policy was asked about. */
function checkOtherReaders(text: string, { host, port }: Authority): void {
  hold(/^[\x21-\x7e]+$/.test(text), "holds what no authority may hold");
  const written = formatHost(host);
  if (host.kind === "name") {
    hold(isIP(written) === 0, `${written} is a name, and an address for net`);
    hold(!isNumber(written), `${written} is a name, and an address for inet_aton`);
  } else {
    hold(isIP(host.address.text) === host.address.family, `${host.address.text} is no address for net`);
  }
  // An A-label that decodes to nothing is no URL, but it is dialled as it stands.
  if (!URL.canParse(`http://${text}/`)) {
    hold(host.kind === "name" && written.includes("xn--"), `${text} is no URL`);
    return;
  }
  const url = new URL(`http://${text}/`);
  hold(
    url.username === "" && url.password === "" && url.pathname === "/",
    `${text} is more than host and port in a URL`,
  );
  const named = url.hostname.replace(/\.$/, "");
  hold(sameAddress(named, written), `${text} is ${named} in a URL, and ${written} here`);
  hold((url.port === "" ? 80 : Number(url.port)) === port, `${text} has port ${url.port} in a URL, and ${port} here`);
}

function checkTarget(method: string, text: string, authority: Authority, path: string): void {
  const start = "http://".length;
  hold(/^http:\/\//i.test(text), "accepted with another scheme");
  const rest = text.slice(start).search(/[/?]/);
  checkOtherReaders(rest < 0 ? text.slice(start) : text.slice(start, start + rest), authority);
  const given = rest < 0 ? "" : text.slice(start + rest);
  const expected = given === "" ? (method === "OPTIONS" ? "*" : "/") : given.startsWith("/") ? given : `/${given}`;
  hold(path === expected, `the path ${JSON.stringify(given)} is forwarded as ${JSON.stringify(path)}`);
  hold(/^(\/[\x21-\x7e]*|\*)$/.test(path), `${JSON.stringify(path)} breaks a request line`);
  hold(!path.includes("#"), "a fragment is forwarded");
}

/** The naive `inet_aton`: one to four numbers, each decimal, octal or hexadecimal. */
function isNumber(text: string): boolean {
  const parts = text.split(".");
  return parts.length <= 4 && parts.every((part) => /^(0x[0-9a-f]*|\d+)$/i.test(part));
}

/** The same text, or two spellings of one address: IPv4-mapped IPv6 is IPv4 here. */
function sameAddress(url: string, own: string): boolean {
  if (url === own) return true;
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(url);
  if (mapped === null) return false;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".") === own;
}
