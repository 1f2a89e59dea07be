/**
 * The composition root: settings and ruleset in, a running proxy out. All the wiring, no decisions. A proxy is traffic
 * and its control; with one process both are in it, with several each worker has the first and the primary the second.
 */
import { randomBytes } from "node:crypto";
import { readConsole } from "./admin/console-page.ts";
import type { OfferPacks } from "./admin/denial-proposal.ts";
import { type PacServer, createPacServer, pacProxies } from "./admin/pac-server.ts";
import { viewPolicy } from "./admin/policy-view.ts";
import { type Admin, createAdmin } from "./admin/server.ts";
import type { ListenerSettings, OnRevoke, Settings } from "./config/settings.ts";
import { createChain } from "./egress/chain.ts";
import { createDeadlines } from "./egress/deadlines.ts";
import { createForwarder } from "./egress/forward.ts";
import { createOwnDials } from "./egress/own-dials.ts";
import { type OwnListener, createLocalAddresses, findOwnListenerIn } from "./egress/own-listeners.ts";
import { createPool } from "./egress/pool.ts";
import { createResolver } from "./egress/resolver.ts";
import { type ConnectionCounts, createConnectionCounts } from "./ingress/connection-counts.ts";
import type { ConnectionSlots } from "./ingress/connection-slots.ts";
import type { IngressContext } from "./ingress/context.ts";
import { type Listener, createListener } from "./ingress/listener.ts";
import { createNodeLane } from "./ingress/node-lane.ts";
import { createPasswords } from "./ingress/passwords.ts";
import { type Tunnel, reviewTunnels } from "./ingress/tunnel-review.ts";
import { type Address, parseAddress } from "./names/address.ts";
import type { Ruleset } from "./policy/ruleset.ts";
import { type AccessLog, createAccessLog } from "./record/access-log.ts";
import type { DenialSighting } from "./record/denial-sighting.ts";
import { type Denials, createDenials } from "./record/denials.ts";
import { type Metrics, createMetrics } from "./record/metrics.ts";
import { type ReloadOptions, createRecordedReloader, describePolicy } from "./reload/recorded-reloader.ts";
import type { Candidate, Reloader } from "./reload/reloader.ts";
import type { ReloadReport, ReloadTrigger } from "./reload/report.ts";

export type ProxyOptions = {
  readonly settings: Settings;
  readonly ruleset: Ruleset;
  /** What the limit on open files leaves of `limits.connections`. */
  readonly slots: ConnectionSlots;
  readonly version: string;
  readonly nodeVersion: string;
  /** The system's hosts file; undefined reads none. */
  readonly hostsFile: string | undefined;
  /** Finds packs for what was denied, when an administrator asks; without it none is named. */
  readonly offerPacks?: OfferPacks;
};

export type Proxy = {
  /** Binds every listener and the admin server. Rejects with Node's error and leaves nothing bound. */
  readonly start: () => Promise<Bound>;
  /** No new connections; what runs may finish until `drain_timeout`. Fulfilled when everything is closed. */
  readonly drain: () => Promise<void>;
  /** Ends everything at once. */
  readonly stop: () => Promise<void>;
  /** Opens the log file anew; answers why that failed, and undefined where it did not. */
  readonly reopenLog: () => Promise<unknown>;
  /** Loads the policy anew, in all processes or in none. Never rejects. */
  readonly reload: (trigger: ReloadTrigger) => Promise<ReloadReport>;
};

/** Where the proxy listens, `host:port` with the ports that were bound. */
export type Bound = { readonly listeners: readonly string[]; readonly admin: string };

/** What a process counts with and writes to. */
export type Recorder = { readonly metrics: Metrics; readonly log: AccessLog };

/** What an administrator sees: the admin server with the metrics, and the denials of late. */
export type Control = { readonly admin: Admin; readonly denials: Denials };

/** What clients see: the listeners, and all that is behind them. */
export type Traffic = {
  /** Binds every listener, in their order; answers what was bound. Rejects with Node's error. */
  readonly listen: () => Promise<readonly OwnListener[]>;
  /** No new connections; fulfilled when there are none, after `drain_timeout` at the latest. */
  readonly drain: () => Promise<void>;
  /** Closes everything at once; fulfilled when all is closed and counted. */
  readonly stop: () => Promise<void>;
  readonly connections: () => number;
  /**
   * From now on exchanges begin under this policy; those that run end under theirs. Fulfilled when all open tunnels have
   * been judged by it, with the number of those that it would not let in.
   */
  readonly adopt: (policy: Pick<Candidate, "ruleset" | "onRevoke">) => Promise<number>;
};

/** What is one for all processes of a proxy. */
export type Fellowship = {
  /** The pseudonym in Via: a loop that leads to another worker is a loop. */
  readonly via: string;
  readonly counts: ConnectionCounts;
  /** Never dialled. Every listener adds itself when it is bound; the admin server is added by whoever has it. */
  readonly own: OwnListener[];
  readonly onDenial: (sighting: DenialSighting) => void;
};

/** Makes a proxy of one process; nothing listens before `start`. Throws where the log file cannot be opened. */
export function createProxy(options: ProxyOptions & ReloadOptions): Proxy {
  const { settings, slots } = options;
  const own: OwnListener[] = [];
  let ready = false;

  const recorder = createRecorder(options, false);
  const { metrics, log } = recorder;
  const reloader = createRecordedReloader(
    options,
    recorder,
    () => ready,
    async (candidate) => ({
      kind: "adopted",
      revokedTunnels: await traffic.adopt(candidate),
    }),
  );
  const control = createControl(options, recorder, { isReady: () => ready, render: metrics.render, reloader });
  const traffic = createTraffic(options, recorder, {
    via: pseudonymOf(settings),
    counts: createConnectionCounts(slots.connections),
    own,
    onDenial: control.denials.add,
  });

  const start = async (): Promise<Bound> => {
    try {
      const listeners = await traffic.listen();
      const admin = await listenForAdmin(control.admin, settings);
      own.push(admin);
      ready = true;
      return logStart(log, options, listeners, admin, 1);
    } catch (error) {
      await stop();
      throw error;
    }
  };
  const drain = async (): Promise<void> => {
    ready = false;
    log.drain({ connections: traffic.connections() });
    await traffic.drain();
    await stop();
  };
  const stop = async (): Promise<void> => {
    ready = false;
    // Exchanges are logged when their sockets are closed, and the log is closed last.
    await traffic.stop();
    await control.admin.close();
    await log.close();
  };
  return { start, drain, stop, reopenLog: log.reopen, reload: reloader.reload };
}

/** `isShared` where other processes write to the same log. */
export function createRecorder({ settings, ruleset, slots, ...build }: ProxyOptions, isShared: boolean): Recorder {
  const metrics = createMetrics({ version: build.version, nodeVersion: build.nodeVersion });
  const log = createAccessLog({ ...settings.log, isShared, now: Date.now, onDrop: metrics.logDropped });
  metrics.setLimits({ connections: slots.connections, perClient: settings.limits.perClient });
  metrics.setCertificates(settings.listen.flatMap(certificateOf));
  describePolicy(metrics, ruleset);
  return { metrics, log };
}

/** A listener's certificate under the address that the settings give it. */
function certificateOf({
  address,
  tls,
}: ListenerSettings): { readonly listener: string; readonly expiresAtMs: number }[] {
  return tls === undefined ? [] : [{ listener: `${address.host}:${address.port}`, expiresAtMs: tls.expiresAtMs }];
}

/** `render` gives the metrics of all processes. */
export type ControlSources = {
  readonly isReady: () => boolean;
  readonly render: () => Promise<string>;
  readonly reloader: Reloader;
};

export function createControl(
  { settings, offerPacks }: ProxyOptions,
  { metrics, log }: Recorder,
  { isReady, render, reloader }: ControlSources,
): Control {
  const { inForce } = reloader;
  const ruleset = (): Ruleset => inForce().ruleset;
  const denials = createDenials({ topSlots: settings.denials.top, now: Date.now });
  metrics.setTopDenials(denials.topSlots);
  const admin = createAdmin({
    ...settings.admin,
    metrics: { render, contentType: metrics.contentType },
    isReady,
    policy: () => viewPolicy(inForce()),
    reload: () => reloader.reload("request"),
    denials: { denials, ruleset, ...(offerPacks === undefined ? {} : { offerPacks }) },
    console: readConsole(),
    now: Date.now,
    onProblem: (error) => log.problem({ message: "the admin server failed", error }),
  });
  return { admin, denials };
}

/** Nothing listens before `listen`. */
export function createTraffic(
  { settings, ruleset: first, slots, hostsFile }: ProxyOptions,
  { metrics, log }: Recorder,
  { via, counts, own, onDenial }: Fellowship,
): Traffic {
  const steady = (): number => performance.now();
  let draining = false;
  let ruleset = first;
  let onRevoke: OnRevoke = settings.reload.onRevoke;
  const tunnels = createChain<Tunnel>();

  const local = createLocalAddresses(steady);
  const resolver = createResolver({
    ...settings.dns,
    hostsFile,
    now: steady,
    ipv6First: local.hasGlobalIPv6,
    onLookup: metrics.dnsLookup,
  });
  const deadlines = createDeadlines(steady, (error) => log.problem({ message: "a deadline failed", error }));
  const pool = createPool(deadlines);
  const context: IngressContext = {
    settings,
    ruleset: () => ruleset,
    onRevoke: () => onRevoke,
    via,
    instance: randomBytes(2).toString("hex"),
    resolver,
    findOwnListener: findOwnListenerIn(() => own, local),
    ownDials: settings.listen.some(({ kind }) => kind === "sni") ? createOwnDials() : undefined,
    deadlines,
    metrics,
    log,
    onDenial,
    now: Date.now,
    isDraining: () => draining,
  };
  const refused = createConnectionCounts(slots.refusals);
  const passwords = createPasswords((error) => log.problem({ message: "passwords could not be compared", error }));
  const nodeLane = createNodeLane(context, createForwarder());
  const services = { context, counts, refused, pool, tunnels, nodeLane, comparePassword: passwords.compare };
  const bound: OwnListener[] = [];
  const pacServer = (listener: ListenerSettings): PacServer =>
    createPacServer({
      ...listener,
      otherwise: settings.pac.otherwise,
      ruleset: () => ruleset,
      proxies: () => pacProxies(settings.listen, bound),
      now: Date.now,
      onProblem: (error) => log.problem({ message: "a pac listener failed", error }),
    });
  const listeners: readonly (Listener | PacServer)[] = settings.listen.map((listener) =>
    listener.kind === "pac" ? pacServer(listener) : createListener(services, listener),
  );
  const closed = (): Promise<unknown> => Promise.all(listeners.map((listener) => listener.drain()));
  const destroy = (): void => {
    for (const listener of listeners) listener.destroy("drain");
  };

  return {
    async listen() {
      for (const [i, listener] of listeners.entries()) {
        const port = await listener.listen();
        const one: OwnListener = { kind: "proxy", address: boundAddress(settings.listen[i]?.address.host ?? ""), port };
        own.push(one);
        bound.push(one);
      }
      return bound;
    },
    async drain() {
      draining = true;
      const drained = closed();
      const deadline = setTimeout(destroy, settings.limits.drainTimeoutMs);
      await drained;
      clearTimeout(deadline);
    },
    async stop() {
      draining = true;
      destroy();
      await closed();
      pool.close();
      passwords.close();
      resolver.close();
    },
    connections: counts.total,
    adopt(policy) {
      ({ ruleset, onRevoke } = policy);
      describePolicy(metrics, ruleset);
      pool.use(ruleset);
      return reviewTunnels(tunnels);
    },
  };
}

/** `via` of the settings, or one that no other running instance has. */
export function pseudonymOf({ via }: Settings): string {
  return via === "auto" ? `sallyport-${randomBytes(4).toString("hex")}` : via;
}

export async function listenForAdmin(admin: Admin, { admin: { address } }: Settings): Promise<OwnListener> {
  const port = await admin.listen();
  return { kind: "admin", address: boundAddress(address.host), port };
}

/** Writes the start line, and answers what of it a person is told. */
export function logStart(
  log: AccessLog,
  { ruleset, slots }: ProxyOptions,
  listeners: readonly OwnListener[],
  admin: OwnListener,
  workers: number,
): Bound {
  const bound = { listeners: listeners.map(hostPort), admin: hostPort(admin) };
  log.start({
    listen: bound.listeners,
    admin: bound.admin,
    policy: ruleset.hash,
    rules: ruleset.rules.length,
    connections: slots.connections,
    workers,
  });
  return bound;
}

const anyAddress: Address = { family: 4, bytes: new Uint8Array(4), text: "0.0.0.0" };

function boundAddress(host: string): Address {
  return parseAddress(host) ?? anyAddress;
}

function hostPort({ address, port }: OwnListener): string {
  return address.family === 6 ? `[${address.text}]:${port}` : `${address.text}:${port}`;
}
