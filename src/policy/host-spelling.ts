/** How people spell hosts in allow-lists: pasted addresses, ports, stars and placeholders, rewritten or answered. */
import { domainToASCII } from "node:url";
import { parseAddress } from "../names/address.ts";
import { hasWildcard } from "./glob.ts";

/** An entry of `hosts` in the words of the policy language. Names are not validated yet, but lower case. */
export type HostSpelling =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "suffix"; readonly apex: string }
  /** Without the `glob:`. */
  | { readonly kind: "glob"; readonly glob: string }
  | HostProblem;

/** `message` completes the sentence "HOST …"; `instead` may itself turn out to be a problem. */
export type HostProblem = { readonly kind: "problem"; readonly message: string; readonly instead: string | undefined };

/** Reads one entry of `hosts`. See policy.md, "Hosts". */
export function readHostSpelling(text: string): HostSpelling {
  if (plainHost.test(text)) {
    return text.startsWith("*.") ? { kind: "suffix", apex: text.slice(2) } : { kind: "name", name: text };
  }
  const trimmed = text.trim();
  const glob = /^glob:\s*/i.exec(trimmed);
  if (glob !== null) return { kind: "glob", glob: withoutTrailingDot(trimmed.slice(glob[0].length).toLowerCase()) };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed);
  const rest = trimmed.slice(scheme?.[0].length ?? 0);
  return (
    markProblem(trimmed, rest) ??
    schemeProblem(scheme?.[1], rest) ??
    addressProblem(rest) ??
    placeholderProblem(rest) ??
    pathProblem(rest) ??
    portProblem(rest, scheme?.[1]) ??
    readStars(rest.replace(/\/$/, ""))
  );
}

/**
 * What nearly all entries look like, told by one expression in place of twenty: nothing in it is rewritten, and with a
 * character that is neither digit nor dot it is no address.
 */
const plainHost = /^(?:\*\.)?(?=[\d.]*[a-z_-])[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?$/;

/** A problem, as a rule without a line to write. */
export function hostProblem(message: string, instead?: string): HostProblem {
  return { kind: "problem", message, instead };
}

/** A placeholder such as `<region>`, `${region}` or `{region}`, which a vendor's table left for the reader to fill in. */
export function placeholderIn(text: string): string | undefined {
  return /<[^<>]*>|\$?\{[^{},]*\}|[<>$]/.exec(text)?.[0];
}

/** `!`, `#` and list marks, which have no meaning here; and what is nothing but a scheme. */
function markProblem(text: string, rest: string): HostProblem | undefined {
  if (rest === "" || rest === "/") return hostProblem("is empty");
  // No line instead: without its mark it would allow what was meant to be refused.
  if (text.startsWith("!")) return hostProblem("begins with !: to refuse a host, write a rule with `action: deny`");
  if (text.startsWith("#")) return hostProblem("begins with #, and is no comment inside of quotes");
  const listMark = /^-\s+|^-(?=\*)/.exec(text);
  if (listMark === null) return undefined;
  return hostProblem("begins with the hyphen of a pasted list", text.slice(listMark[0].length));
}

function schemeProblem(scheme: string | undefined, rest: string): HostProblem | undefined {
  if (scheme === undefined || /^https?$/i.test(scheme)) return undefined;
  return hostProblem(`has the scheme ${scheme}: say in \`expect\` how the host is reached`, rest);
}

/** Addresses and blocks, also with a port, a path or stars for octets. */
function addressProblem(text: string): HostProblem | undefined {
  const bare = text.replace(/\/.*$/, "").replace(/^\[(.*)\](:\d*)?$/, "$1");
  const withoutPort = bare.replace(/^([\d.]+):\d*$/, "$1");
  const octets = /^[\d*]+(\.[\d*]+){1,3}\.?$/.test(withoutPort) && /\d/.test(withoutPort);
  const groups = /^[\da-f.]*:[\da-f.]*:[\da-f:.]*(%.*)?$/i.test(bare);
  if (parseAddress(withoutPort) === undefined && !octets && !groups) return undefined;
  return hostProblem("is an address, or a block of them: it belongs in `addresses`");
}

function placeholderProblem(text: string): HostProblem | undefined {
  const placeholder = placeholderIn(text);
  if (placeholder !== undefined) {
    return hostProblem(`still has the placeholder ${placeholder}: list the names that it stands for`);
  }
  if (/[{}]/.test(text)) return hostProblem("has braces, which only a glob may have", `glob:${text}`);
  return undefined;
}

function pathProblem(text: string): HostProblem | undefined {
  const slash = text.indexOf("/");
  if (slash < 0 || slash === text.length - 1) return undefined;
  const message = "names a path: none can be enforced on CONNECT, and for plain HTTP it belongs in `paths`";
  return hostProblem(message, slash === 0 ? undefined : text.slice(0, slash));
}

function portProblem(text: string, scheme: string | undefined): HostProblem | undefined {
  const colon = text.indexOf(":");
  if (colon < 0) return undefined;
  const digits = text.slice(colon + 1).replace(/\/$/, "");
  const host = text.slice(0, colon);
  const port = Number(digits);
  if (!/^\d{1,5}$/.test(digits) || port < 1 || port > 65535) {
    return hostProblem("has a colon that no port follows", digits === "" ? host : undefined);
  }
  const reached = scheme?.toLowerCase() ?? (port === 80 ? "http" : "https");
  return hostProblem(`has a port: ports belong in \`expect\`, as in expect: [${reached}:${port}]`, host);
}

/** Sorts the shapes of stars: `*.x` and its vendor spellings, and those that would surprise. */
function readStars(text: string): HostSpelling {
  if (/^[*.]*$/.test(text) && text.includes("*")) return hostProblem("covers every host: list those that are needed");
  if (/[\s,]/.test(text)) return hostProblem("has a blank or a comma inside: write one host an entry");
  const [lead = ""] = /^\*{0,2}\.(?!$)/.exec(text) ?? [];
  const labels = text.slice(lead.length);
  if (hasWildcard(labels) && !isAscii(labels)) return hostProblem("has a wildcard beside letters that are not ASCII");
  const name = asciiName(labels);
  if (name === undefined) return hostProblem("is no internationalised name that IDNA can read");
  const forbidden = /[^a-z0-9\-_.*?]/u.exec(name);
  if (forbidden !== null)
    return hostProblem(`has the character ${JSON.stringify(forbidden[0])}, which no host name has`);
  if (!hasWildcard(name)) return lead === "" ? { kind: "name", name } : { kind: "suffix", apex: name };
  const whole = lead + name;
  if (name.endsWith("*")) {
    const front = whole.replace(/\*+$/, "");
    return hostProblem(
      "ends in a star, which would cover names of other owners",
      front.endsWith(".") ? undefined : front,
    );
  }
  const glued = /^\*+([^*?-][^*?]*)$/.exec(whole)?.[1];
  if (glued !== undefined) {
    const message = `has a star glued to a label, and would also cover evil${glued}: only a glob may`;
    return hostProblem(message, `*.${glued}`);
  }
  return hostProblem("has a wildcard inside, which only a glob may have", `glob:${whole}`);
}

/** Lower case, A-labels for U-labels (IDNA, UTS 46), and no trailing dot; undefined where IDNA refuses. */
function asciiName(text: string): string | undefined {
  const ascii = isAscii(text) ? text.toLowerCase() : domainToASCII(text);
  return ascii === "" ? undefined : withoutTrailingDot(ascii);
}

function withoutTrailingDot(text: string): string {
  return /[^.]\.$/.test(text) ? text.slice(0, -1) : text;
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}
