/** The composition root: settings and ruleset in, a running proxy out. All the wiring, no decisions. */
import { randomBytes } from "node:crypto";
import { type Admin, createAdmin } from "./admin/server.ts";
import { viewPolicy } from "./admin/policy-view.ts";
import type { Settings } from "./config/settings.ts";
import { createForwarder } from "./egress/forward.ts";
import { type OwnListener, createLocalAddresses, findOwnListenerIn } from "./egress/own-listeners.ts";
import { createResolver } from "./egress/resolver.ts";
import { type ConnectionCounts, createConnectionCounts } from "./ingress/connection-counts.ts";
import type { IngressContext } from "./ingress/context.ts";
import { type Listener, createListener } from "./ingress/listener.ts";
import { type Address, parseAddress } from "./names/address.ts";
import type { Ruleset } from "./policy/ruleset.ts";
import { createAccessLog } from "./record/access-log.ts";
import { createMetrics } from "./record/metrics.ts";

export type ProxyOptions = {
  readonly settings: Settings;
  readonly ruleset: Ruleset;
  readonly version: string;
  readonly nodeVersion: string;
  /** The system's hosts file; undefined reads none. */
  readonly hostsFile: string | undefined;
};

export type Proxy = {
  /** Binds every listener, the admin server last. Rejects with Node's error and leaves nothing bound. */
  readonly start: () => Promise<Bound>;
  /** No new connections; what runs may finish until `drain_timeout`. Fulfilled when everything is closed. */
  readonly drain: () => Promise<void>;
  /** Ends everything at once. */
  readonly stop: () => Promise<void>;
  /** Opens the log file anew; answers why that failed, and undefined where it did not. */
  readonly reopenLog: () => Promise<unknown>;
};

/** Where the proxy listens, `host:port` with the ports that were bound. */
export type Bound = { readonly listeners: readonly string[]; readonly admin: string };

/** Makes a proxy; nothing listens before `start`. Throws where the log file cannot be opened. */
export function createProxy(options: ProxyOptions): Proxy {
  const { settings, ruleset } = options;
  const now = (): number => Date.now();
  const steady = (): number => performance.now();
  const own: OwnListener[] = [];
  let draining = false;
  let ready = false;

  const metrics = createMetrics({ version: options.version, nodeVersion: options.nodeVersion });
  const log = createAccessLog({ ...settings.log, now, onDrop: metrics.logDropped });
  const local = createLocalAddresses(steady);
  const resolver = createResolver({
    ...settings.dns,
    hostsFile: options.hostsFile,
    now: steady,
    ipv6First: local.hasGlobalIPv6,
    onLookup: metrics.dnsLookup,
  });
  const context: IngressContext = {
    settings,
    ruleset: () => ruleset,
    via: settings.via === "auto" ? `sallyport-${randomBytes(4).toString("hex")}` : settings.via,
    resolver,
    findOwnListener: findOwnListenerIn(() => own, local),
    metrics,
    log,
    now,
    isDraining: () => draining,
  };
  const counts: ConnectionCounts = createConnectionCounts(settings.limits.connections);
  const forward = createForwarder();
  const listeners: readonly Listener[] = settings.listen.map((listener) =>
    createListener(context, listener, counts, forward),
  );
  const admin: Admin = createAdmin({
    ...settings.admin,
    metrics,
    isReady: () => ready && !draining,
    policy: () => viewPolicy(ruleset, 1),
    now,
    onProblem: (error) => log.problem({ message: "the admin server failed", error }),
  });

  metrics.setRules(ruleset.rules.map((rule) => rule.fullId));
  metrics.setGroups(ruleset.groups.map((group) => group.name));
  metrics.policyLoaded({ hash: ruleset.hash, rules: ruleset.rules.length, atMs: now() });

  const start = async (): Promise<Bound> => {
    try {
      const bound: string[] = [];
      for (const [i, listener] of listeners.entries()) {
        const host = settings.listen[i]?.address.host ?? "";
        const port = await listener.listen();
        own.push({ kind: "proxy", address: boundAddress(host), port });
        bound.push(hostPort(host, port));
      }
      const port = await admin.listen();
      own.push({ kind: "admin", address: boundAddress(settings.admin.address.host), port });
      ready = true;
      const adminBound = hostPort(settings.admin.address.host, port);
      log.start({ listen: bound, admin: adminBound, policy: ruleset.hash, rules: ruleset.rules.length });
      return { listeners: bound, admin: adminBound };
    } catch (error) {
      await stop();
      throw error;
    }
  };
  const drain = async (): Promise<void> => {
    draining = true;
    log.drain({ connections: counts.total() });
    const drained = Promise.all(listeners.map((listener) => listener.drain()));
    const deadline = setTimeout(() => {
      for (const listener of listeners) listener.destroy("drain");
    }, settings.limits.drainTimeoutMs);
    await drained;
    clearTimeout(deadline);
    await stop();
  };
  const stop = async (): Promise<void> => {
    draining = true;
    for (const listener of listeners) listener.destroy("drain");
    // Exchanges are logged when their sockets are closed, and the log is closed last.
    await Promise.all(listeners.map((listener) => listener.drain()));
    resolver.close();
    await admin.close();
    await log.close();
  };
  return { start, drain, stop, reopenLog: log.reopen };
}

const anyAddress: Address = { family: 4, bytes: new Uint8Array(4), text: "0.0.0.0" };

function boundAddress(host: string): Address {
  return parseAddress(host) ?? anyAddress;
}

function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
