/** Whether this machine's clock can be right: by the age of this program, and by what was seen of the world. */
import type { Seen } from "./doctor-canaries.ts";
import { type Finding, fine, wrong } from "./doctor-report.ts";
import type { Sources } from "./sources.ts";

/** TLS needs no better clock, and Date fields are cut to seconds. */
const tolerableMs = 5 * 60_000;

const todo = "set the clock, and keep it by NTP (timedatectl, w32tm): certificates and expires go by it";

/** `seen` are dates of answers and of certificates, from allowed requests. */
export function judgeClock(sources: Sources, seen: readonly Seen[], nowMs: number): Finding {
  const now = new Date(nowMs).toISOString();
  const [newest = ""] = checkedDays(sources).sort().reverse();
  if (newest !== "" && nowMs < Date.parse(newest))
    return wrong("clock", `it is ${now} here, before the packs of this program were made (${newest})`, todo);
  for (const { host, certificate, dateMs } of seen) {
    if (certificate !== undefined && nowMs < certificate.validFromMs)
      return wrong("clock", `it is ${now} here, and the certificate of ${host} is not valid yet`, todo);
    if (dateMs !== undefined && Math.abs(nowMs - dateMs) > tolerableMs) {
      const minutes = Math.round((nowMs - dateMs) / 60_000);
      const which = minutes > 0 ? "fast" : "slow";
      return wrong("clock", `it is ${now} here, ${Math.abs(minutes)} minutes ${which} by the answer of ${host}`, todo);
    }
  }
  const by = seen.length === 0 ? "nothing from outside to compare it with" : "agrees with what was seen";
  return fine("clock", `${now}, ${by}`);
}

function checkedDays(sources: Sources): string[] {
  if (sources.kind !== "loaded") return [];
  return sources.ruleset.rules.flatMap(({ rule }) => rule.source?.checked ?? []);
}
