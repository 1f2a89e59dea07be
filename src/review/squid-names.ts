/** The names of all dstdomain ACLs, and which ACLs hold each of them. */
import { parseAddress } from "../names/address.ts";
import { parsePattern } from "../policy/pattern.ts";
import type { ImportFinding, SourceLine } from "./import-report.ts";
import type { SquidJudge } from "./squid-access.ts";
import type { SquidConfig } from "./squid-config.ts";

/** A name of a dstdomain ACL: `.apex` with all below it, a name alone, or an address. */
export type Spot = { readonly text: string; readonly kind: "suffix" | "exact" | "address"; readonly isShared: boolean };

/** All names of all dstdomain ACLs that can stand in a policy. */
export function collectSpots(judge: SquidJudge, config: SquidConfig, findings: ImportFinding[]): readonly Spot[] {
  const spots = new Map<string, Spot>();
  for (const [acl, names] of judge.domains) {
    for (const text of names) {
      if (spots.has(text)) continue;
      if (parseAddress(text) !== undefined) {
        spots.set(text, { text, kind: "address", isShared: false });
        continue;
      }
      const kind = text.startsWith(".") ? "suffix" : "exact";
      const pattern = kind === "suffix" ? `*${text}` : text;
      const reading = parsePattern(pattern, false);
      const isShared = reading.kind === "problem" && parsePattern(pattern, true).kind === "patterns";
      const at = valueAt(config, acl, text);
      if (reading.kind === "problem" && !isShared) {
        findings.push({ at, effect: "narrower", message: `${pattern} ${reading.message}` });
        continue;
      }
      if (isShared) {
        const message = `${pattern} is a suffix below which anyone can rent a name: list the names that you need in its place`;
        findings.push({ at, effect: "note", message });
      }
      spots.set(text, { text, kind, isShared });
    }
  }
  return [...spots.values()];
}

function valueAt(config: SquidConfig, acl: string, name: string): SourceLine | undefined {
  const known = config.acls.get(acl);
  return known?.values.find(({ text }) => text.toLowerCase().replace(/\.$/, "") === name)?.at ?? known?.at;
}

/** The ACLs that a request for this name is in: for a suffix, one for a name below it that no ACL has. */
export function aclsOf(judge: SquidJudge, spot: Spot): ReadonlySet<string> {
  const own = spot.kind === "suffix" ? [spot.text] : [spot.text, ...(spot.kind === "exact" ? [`.${spot.text}`] : [])];
  const names = [...own, ...ancestors(spot)];
  return new Set([...judge.domains].flatMap(([acl, values]) => (names.some((name) => values.has(name)) ? [acl] : [])));
}

/** Suffixes that hold this name or all below it, the nearest first. */
export function ancestors({ text, kind }: Spot): readonly string[] {
  if (kind === "address") return [];
  const name = text.replace(/^\./, "");
  const found = kind === "exact" ? [`.${name}`] : [];
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) found.push(name.slice(dot));
  return found;
}

export function labels(text: string): number {
  return text.replace(/^\./, "").split(".").length;
}
