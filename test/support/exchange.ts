/** Exchanges for tests: an allowed plain HTTP request, with what a test wants to be different. */
import type { Exchange } from "../../src/record/event.ts";

export function exchangeWith(changes: Partial<Exchange> = {}): Exchange {
  return {
    id: "w0-1",
    startedAtMs: 0,
    listener: "127.0.0.1:3128",
    clientAddress: "10.20.1.4",
    group: "servers",
    method: "GET",
    kind: "http",
    host: "au.download.windowsupdate.com",
    port: 80,
    path: "/x.cab",
    scheme: "http",
    verdict: "allow",
    reason: "allowed",
    would: false,
    mode: "enforce",
    stage: "request",
    rule: "windows-update/payload",
    nearest: undefined,
    denial: undefined,
    policy: "0123456789abcdef",
    sni: undefined,
    tls: undefined,
    alpn: undefined,
    ech: false,
    range: undefined,
    rangeKind: "none",
    status: 200,
    outcome: "ok",
    bytesUp: 0,
    bytesDown: 1000,
    dialMs: 1.5,
    durationMs: 12,
    upstream: undefined,
    upstreamPort: 0,
    closedBy: undefined,
    ...changes,
  };
}

/** The same as a CONNECT. */
export function tunnelWith(changes: Partial<Exchange> = {}): Exchange {
  return exchangeWith({
    kind: "connect",
    method: "CONNECT",
    host: "fe2.update.microsoft.com",
    port: 443,
    path: "",
    scheme: "https",
    sni: "fe2.update.microsoft.com",
    ...changes,
  });
}
