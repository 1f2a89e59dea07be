/** sallyport.yaml once read: every value present, in base units. */
import type { Address } from "../names/address.ts";
import type { Hostname } from "../names/hostname.ts";

/** An IP literal without brackets, and a port; port 0 takes a free one. */
export type ListenAddress = { readonly host: string; readonly port: number };

/** A listener; this version has explicit forward proxies. */
export type ListenerSettings = {
  readonly kind: "proxy";
  readonly address: ListenAddress;
  /** Groups that are admitted; null admits every client. */
  readonly clients: readonly string[] | null;
};

export type AdminSettings = {
  readonly address: ListenAddress;
  /** Host names, besides localhost and IP literals, that the admin endpoints answer to. */
  readonly names: readonly string[];
  /** Contents of `token_file`, trimmed; undefined without one. */
  readonly token: string | undefined;
};

export type Limits = {
  readonly connections: number;
  readonly perClient: number;
  readonly headBytes: number;
  readonly fields: number;
  readonly headTimeoutMs: number;
  readonly helloBytes: number;
  readonly helloTimeoutMs: number;
  readonly dialTimeoutMs: number;
  readonly responseHeadTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly drainTimeoutMs: number;
};

/** `dns.hosts`: a name, or `*.name` with its apex; addresses are judged like a DNS answer. */
export type HostsEntry = {
  readonly name: Hostname;
  readonly wildcard: boolean;
  readonly addresses: readonly Address[];
};

/** As in curl's --connect-to: undefined `host` or `port` on the left is "any"; a wildcard covers the apex. */
export type ConnectTo = {
  /** `name` is canonical; of an IPv6 address without brackets. */
  readonly host: { readonly name: string; readonly wildcard: boolean } | undefined;
  readonly port: number | undefined;
  readonly address: Address;
  /** Undefined keeps the port that was asked for. */
  readonly toPort: number | undefined;
};

export type Settings = {
  readonly listen: readonly ListenerSettings[];
  readonly admin: AdminSettings;
  /** Paths of site policies, to be opened from the working directory; empty is the policy that ships with the program. */
  readonly policy: readonly string[];
  /** Processes that share the listeners; `auto` is one per core. */
  readonly workers: number | "auto";
  /** `auto`, or the pseudonym. */
  readonly via: string;
  readonly dns: {
    /** `address` or `address:port`; empty is the system's. */
    readonly servers: readonly string[];
    readonly hosts: readonly HostsEntry[];
    readonly timeoutMs: number;
    readonly negativeTtlMs: number;
  };
  readonly connectTo: readonly ConnectTo[];
  readonly limits: Limits;
  readonly log: {
    readonly level: "debug" | "info" | "warn" | "error";
    /** Also log allowed exchanges. */
    readonly allowed: boolean;
    /** Also log paths of plain HTTP requests. */
    readonly paths: boolean;
    /** Path to be opened from the working directory, or `-` for standard output. */
    readonly file: string;
  };
  readonly denials: {
    /** How much a refusal says. */
    readonly explain: "full" | "id" | "none";
    /** Slots of `sallyport_top_denials`; 0 is off. */
    readonly top: number;
  };
};
