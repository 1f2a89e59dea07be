/** What the primary and its workers say to each other: plain values that survive a structured clone. */
import type { Recording } from "../config/recorded-disk.ts";
import type { OwnListener } from "../egress/own-listeners.ts";
import type { DenialSighting } from "../record/denial-sighting.ts";
import type { MetricsSnapshot } from "../record/metrics-merge.ts";

/** What a worker begins with. `Options` is what the command line said. */
export type Setup<Options> = {
  /** Of the program that the primary runs: what stands on the disk may be another by now. */
  readonly version: string;
  /** Settings and policy are loaded from what the primary has read, so that all have the same. */
  readonly options: Options;
  readonly recording: Recording;
  readonly policyHash: string;
  readonly workers: number;
  /** What to ask for, in the order of `listen`; 0 is the free port that the first worker gets. */
  readonly ports: readonly number[];
  readonly via: string;
  readonly admin: OwnListener;
};

/** Connections of one worker, where they have changed; absolute numbers. */
export type CountsChange = {
  readonly total: number;
  /** 0 is an address without connections. */
  readonly clients: readonly (readonly [address: string, count: number])[];
};

/** An error, without what does not travel. */
export type ErrorFacts = {
  readonly message: string;
  readonly code: string | undefined;
  readonly address: string | undefined;
  readonly port: number | undefined;
};

/** A policy that is to come into force, as it was read. `attempt` tells one try from the next. */
export type NextPolicy = { readonly attempt: number; readonly recording: Recording; readonly policyHash: string };

export type ToWorker<Options> =
  | { readonly kind: "run"; readonly setup: Setup<Options> }
  /** Another worker's connections; `from` is its id, which no other gets. */
  | { readonly kind: "counts"; readonly from: number; readonly change: CountsChange }
  | { readonly kind: "gone"; readonly from: number }
  /** Asks for all metrics. */
  | { readonly kind: "ask" }
  | { readonly kind: "reopen" }
  /** Load this policy, and go on with the one in force. */
  | ({ readonly kind: "prepare" } & NextPolicy)
  /** What was prepared comes into force, or is dropped. */
  | { readonly kind: "swap"; readonly attempt: number }
  | { readonly kind: "discard" }
  | { readonly kind: "drain" }
  | { readonly kind: "stop" };

export type FromWorker =
  /** It has loaded the policy, and waits for `swap` or `discard`; or says why it could not. */
  | { readonly kind: "prepared"; readonly attempt: number; readonly failure: string | undefined }
  /** The policy is in force there; so many tunnels it would not let in. Undefined where there was none to swap. */
  | { readonly kind: "swapped"; readonly attempt: number; readonly revokedTunnels: number | undefined }
  /** Ready to be told what to do. */
  | { readonly kind: "hello" }
  | { readonly kind: "listening"; readonly listeners: readonly OwnListener[] }
  /** It could not start, and ends. */
  | { readonly kind: "failed"; readonly error: ErrorFacts }
  | { readonly kind: "counts"; readonly change: CountsChange }
  /** `all`: gauges too, as they were asked for. */
  | { readonly kind: "metrics"; readonly all: boolean; readonly snapshot: MetricsSnapshot }
  /** `dropped` more were denied than fit. */
  | { readonly kind: "denials"; readonly items: readonly DenialSighting[]; readonly dropped: number }
  | { readonly kind: "reopened"; readonly failure: string | undefined }
  /** It has stopped to listen; so many connections are left. */
  | { readonly kind: "draining"; readonly connections: number };

export function errorFacts(error: unknown): ErrorFacts {
  const facts: ReadonlyMap<string, unknown> = new Map(error instanceof Error ? Object.entries(error) : []);
  const [code, address, port] = [facts.get("code"), facts.get("address"), facts.get("port")];
  return {
    message: error instanceof Error ? error.message : String(error),
    code: typeof code === "string" ? code : undefined,
    address: typeof address === "string" ? address : undefined,
    port: typeof port === "number" ? port : undefined,
  };
}

/** The error again, as Node would have thrown it here. */
export function errorOf({ message, ...facts }: ErrorFacts): Error {
  const known = Object.entries(facts).filter(([, fact]) => fact !== undefined);
  return Object.assign(new Error(message), Object.fromEntries(known));
}
