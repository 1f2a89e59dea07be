/** Public suffixes: under which names anyone can register (ICANN) or rent (private) a name of his own. */
import { getDomain, parse } from "tldts";

/** Who keeps the suffix: a registry, or a company that hands out names below one of its own. */
export type SuffixKind = "icann" | "private";

/** A public suffix under which everybody's names stand. */
export type PublicSuffix = { readonly kind: SuffixKind; readonly suffix: string };

const everySuffix = { extractHostname: false, validateHostname: false, detectIp: false, allowPrivateDomains: true };
const registrySuffixes = { ...everySuffix, allowPrivateDomains: false };

/**
 * Names that the large hosts give to their rented zones. The list of public suffixes can be asked about a name, but
 * not about what is below it; asking for these finds `s3.us-east-1.amazonaws.com` under `us-east-1.amazonaws.com`.
 * What they do not find is still covered by no rule but the one that an administrator wrote.
 */
const zoneLabels = ["s3", "compute", "elb", "blob.core", "blob", "global.ssl"];

/**
 * The name that was registered or rented: the public suffix and one label (eTLD+1). Undefined for a public suffix and
 * for a single label. Under an unknown top level (`corp`) it is the last two labels. With `icann`, private suffixes
 * count as names like any other: `a.s3.amazonaws.com` then is `amazonaws.com`, and not itself.
 */
export function registrableDomain(hostname: string, suffixes: "all" | "icann" = "all"): string | undefined {
  return getDomain(hostname, suffixes === "all" ? everySuffix : registrySuffixes) ?? undefined;
}

/**
 * What kind of public suffix the canonical name itself is. An unknown top level is none; a name whose children are all
 * suffixes (`ck`, of which the list says `*.ck`) is one.
 */
export function publicSuffixKind(name: string): SuffixKind | "none" {
  const { publicSuffix, isIcann, isPrivate } = parse(name, everySuffix);
  if (publicSuffix !== name) return "none";
  if (isIcann === true) return "icann";
  return isPrivate === true ? "private" : "none";
}

/**
 * The public suffix that a wildcard on `apex` would open to everybody: the apex, or a zone of a large host below it
 * (as far as they are known, see `zoneLabels`).
 */
export function publicSuffixUnder(apex: string): PublicSuffix | undefined {
  const zones = zoneLabels.map((label) => `${label}.${apex}`);
  for (const suffix of [apex, ...zones]) {
    const kind = publicSuffixKind(suffix);
    if (kind !== "none") return { kind, suffix };
  }
  return undefined;
}
