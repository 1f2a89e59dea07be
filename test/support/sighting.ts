/** Sightings of denials for tests, with what a test wants to be different. */
import type { DenialSighting } from "../../src/record/denial-sighting.ts";

export function sightingWith(changes: Partial<DenialSighting> = {}): DenialSighting {
  return {
    id: "TTJNQ-1CQ9M",
    atMs: 0,
    host: "tlu.dl.delivery.mp.microsoft.com",
    port: 443,
    protocol: "connect",
    sni: undefined,
    reason: "scheme_mismatch",
    group: "_none",
    would: false,
    mode: "enforce",
    stage: "request",
    rule: "windows-update/payload",
    nearest: "windows-update/payload",
    client: "10.20.1.4",
    listener: "127.0.0.1:3128",
    method: "CONNECT",
    path: "",
    range: undefined,
    tls: undefined,
    ech: false,
    policy: "0123456789abcdef",
    exchange: "w0-1",
    ...changes,
  };
}
