/** What is compared: a proxy that can be started, with the same policy and the same names as the others. */
import type { Child } from "./children.ts";

/** What every contender is set up with. */
export type Rig = {
  /** For files; a contender makes a directory of its own in it. */
  readonly directory: string;
  readonly webPort: number;
  readonly tunnelPort: number;
  /** PEM files, for contenders that want a certificate. */
  readonly certificate: { readonly cert: string; readonly key: string };
};

export type Contender = {
  /** In tables: `Sallyport`, `Squid`. */
  readonly name: string;
  readonly version: string;
  /** It claims to cut a tunnel whose ClientHello asks for a host that is not allowed. */
  readonly judgesServerName: boolean;
  /** What is different about it, for the reader of a table. */
  readonly note?: string;
  /** Hosts that it is asked for; it finds the origins under the first two. */
  readonly hosts: Hosts;
  /** Starts it anew, with files of its own. Rejects with what it said. */
  readonly start: () => Promise<Running>;
};

export type Running = Pick<Child, "pid" | "stop" | "end"> & {
  readonly port: number;
  /** Where it writes a line for each exchange; undefined where it does not. */
  readonly log?: string;
};

export type Hosts = { readonly web: string; readonly tunnel: string; readonly denied: string };

/** A contender, or why it takes no part. */
export type Candidate = Contender | { readonly name: string; readonly problem: string };

export const hosts: Hosts = {
  web: "tlu.dl.delivery.bench.example",
  tunnel: "agent-17.control.bench.example",
  denied: "www.other.example",
};

export const address = "127.0.0.1";
export const webApex = "dl.delivery.bench.example";
export const tunnelApex = "control.bench.example";

/** What else is allowed: as many names as the pack of a vendor has. */
export const otherApexes: readonly string[] = Array.from({ length: 38 }, (_, i) => `cdn-${i}.vendor-${i % 7}.example`);
