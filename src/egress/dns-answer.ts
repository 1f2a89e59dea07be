/** What the A and the AAAA query of one name say together, and for how long. Pure. */
import { type Address, parseAddress } from "../names/address.ts";

/** What a lookup gave. `addresses` holds 1 to 32, no two alike, in the order in which they are worth trying. */
export type Resolution =
  | { readonly kind: "addresses"; readonly addresses: readonly Address[] }
  /** `detail` is a response code in the spelling of RFC 9209 section 2.3.2 (`NXDOMAIN`, `SERVFAIL`), `NODATA`, or a word of c-ares. */
  | { readonly kind: "dns_error"; readonly detail: string }
  | { readonly kind: "dns_timeout" };

/** What one of the two queries gave; `code` is c-ares'. */
export type FamilyAnswer =
  | { readonly kind: "records"; readonly addresses: readonly Address[]; readonly ttlMs: number }
  | { readonly kind: "failed"; readonly code: string };

/** Answers are kept at least and at most this long, whatever their TTL: 0 must not mean a query for each request. */
const minTtlMs = 1_000;
export const maxTtlMs = 3_600_000;
/** More than this many addresses of a name are not looked at. */
export const maxAddresses = 32;

/** What stands for a query that nobody answered in time. */
export const unanswered: FamilyAnswer = { kind: "failed", code: "ETIMEOUT" };
/** The server answered, and there is nothing: NXDOMAIN and NODATA in c-ares' words. */
const negativeCodes: ReadonlySet<string> = new Set(["ENOTFOUND", "ENODATA"]);

/** Reads what `resolve4` or `resolve6` called back with; records that are no addresses are left out. */
export function familyAnswer(
  error: NodeJS.ErrnoException | null,
  records: readonly { readonly address: string; readonly ttl: number }[] | undefined,
): FamilyAnswer {
  if (error !== null || records === undefined) return { kind: "failed", code: error?.code ?? "EBADRESP" };
  const addresses = records.flatMap((record) => parseAddress(record.address) ?? []);
  if (addresses.length === 0) return { kind: "failed", code: "ENODATA" };
  return { kind: "records", addresses, ttlMs: Math.min(...records.map((record) => record.ttl)) * 1_000 };
}

/** One answer out of two. Where one family failed, the other is used, but kept no longer than a failure if A is missing. */
export function combine(
  a: FamilyAnswer,
  aaaa: FamilyAnswer,
  { ipv6First, negativeTtlMs }: { readonly ipv6First: boolean; readonly negativeTtlMs: number },
): { readonly resolution: Resolution; readonly ttlMs: number } {
  if (a.kind === "failed" && aaaa.kind === "failed") {
    return { resolution: failure(a.code, aaaa.code), ttlMs: negativeTtlMs };
  }
  const found = [...addressesOf(a), ...addressesOf(aaaa)];
  const addresses = interleave(unique(found), ipv6First).slice(0, maxAddresses);
  const clamped = Math.min(maxTtlMs, Math.max(minTtlMs, Math.min(ttlOf(a), ttlOf(aaaa))));
  const incomplete = a.kind === "failed" && !negativeCodes.has(a.code);
  return {
    resolution: { kind: "addresses", addresses },
    ttlMs: incomplete ? Math.min(clamped, negativeTtlMs) : clamped,
  };
}

function addressesOf(answer: FamilyAnswer): readonly Address[] {
  return answer.kind === "records" ? answer.addresses : [];
}

function ttlOf(answer: FamilyAnswer): number {
  return answer.kind === "records" ? answer.ttlMs : Infinity;
}

function unique(addresses: readonly Address[]): readonly Address[] {
  return [...new Map(addresses.map((address) => [address.text, address])).values()];
}

/** Families in turns (RFC 8305 section 4), the order within a family as the server gave it. */
function interleave(addresses: readonly Address[], ipv6First: boolean): readonly Address[] {
  const first = addresses.filter((address) => (address.family === 6) === ipv6First);
  const second = addresses.filter((address) => (address.family === 6) !== ipv6First);
  return Array.from({ length: Math.max(first.length, second.length) }, (_, i) => [
    ...first.slice(i, i + 1),
    ...second.slice(i, i + 1),
  ]).flat();
}

/** A's answer speaks for both, unless all it says is that there is none of its kind. */
function failure(a: string, aaaa: string): Resolution {
  const code = a === "ENODATA" ? aaaa : a;
  if (code === "ETIMEOUT") return { kind: "dns_timeout" };
  return { kind: "dns_error", detail: code === "ENOTFOUND" ? "NXDOMAIN" : code.replace(/^E/, "") };
}
