/**
 * The vendors' agents as their documents and captures describe them, through a real Sallyport, each against its own packs
 * alone and all of them against the default policy: what they need passes byte for byte, what is nearly the same does not.
 */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cloud, controlRoom } from "../support/agents/automation-anywhere.ts";
import { ocspPath } from "../support/agents/crypto-api.ts";
import { openChannel } from "../support/agents/datto.ts";
import { rangeOf } from "../support/agents/delivery-optimization.ts";
import { type NearMiss, attempt, inShort, nearMisses } from "../support/agents/near-misses.ts";
import type { Step, Surroundings } from "../support/agents/proxied.ts";
import { type AgentName, automationAnywherePack, roster } from "../support/agents/roster.ts";
import { soap } from "../support/agents/windows-update.ts";
import { type LabRequest, definitionUpdate, featureUpdate, otherSize } from "../support/lab/file-server.ts";
import { type Lab, controlChannel, startLab } from "../support/lab/lab.ts";
import { firstWrongByte, payload } from "../support/lab/payload.ts";
import { type LogLine, type Sallyport, startSallyport } from "../support/sallyport.ts";

/** A line of the log in short, the rule that decided, and the one that does so among all packs where it is another. */
type Row = readonly [exchange: string, rule: string, ruleAmongAll?: string];

type Expected = {
  readonly log: readonly Row[];
  /** What came of it for the agent, and, where that matters, how it reached the origin. */
  readonly check: (steps: readonly Step[], reached: readonly LabRequest[]) => void;
};

const defaultPolicy = fileURLToPath(new URL("../../policies/default.yaml", import.meta.url));
const whole = payload(0, otherSize);

const expected: Readonly<Record<AgentName, Expected>> = {
  "Windows Update": {
    log: [
      ["CONNECT fe3cr.delivery.mp.microsoft.com:443 200", "windows-update/metadata"],
      ["CONNECT slscr.update.microsoft.com:443 200", "windows-update/update-services"],
    ],
    check: ([config, services], reached) => {
      expect(config?.answer).toMatchObject({ status: 200, body: Buffer.from(`POST with ${soap.length} bytes\n`) });
      expect(services?.answer).toMatchObject({ status: 200, body: whole });
      expect(reached.map(({ scheme, fields }) => [scheme, fields["via"]])).toEqual([
        ["https", undefined],
        ["https", undefined],
      ]);
    },
  },
  "Delivery Optimization": {
    log: Array.from({ length: 216 }, () => ["GET tlu.dl.delivery.mp.microsoft.com:80 206", "windows-update/payload"]),
    check: (steps, reached) => {
      const etag = steps[0]?.answer?.fields["etag"];
      expect(etag).toMatch(/^"[^"]+"$/);
      const answers = steps.map(({ answer }) => [
        answer?.status,
        ...["content-range", "content-length", "accept-ranges", "etag", "content-encoding"].map(
          (name) => answer?.fields[name],
        ),
      ]);
      expect(answers).toEqual(
        Array.from({ length: 216 }, (_, piece) => {
          const { first, last } = rangeOf(piece);
          return [
            206,
            `bytes ${first}-${last}/${featureUpdate.size}`,
            String(last - first + 1),
            "bytes",
            etag,
            undefined,
          ];
        }),
      );
      const ranges = reached.map(({ fields }) => fields["range"] ?? "");
      const inOrder = Array.from({ length: 216 }, (_, piece) => `bytes=${rangeOf(piece).first}-${rangeOf(piece).last}`);
      expect(new Set(ranges)).toEqual(new Set(inOrder));
      expect(ranges).not.toEqual(inOrder);
      for (const { method, path, fields, body } of reached) {
        expect(method).toBe("GET");
        expect(path).toBe(`${featureUpdate.path}?P1=1705528528&P2=404&P3=2&P4=jAZ%2bQ0%2fKk1s%3d`);
        expect(fields["user-agent"]).toBe("Microsoft-Delivery-Optimization/10.1");
        expect(fields["content-length"] ?? "0").toBe("0");
        expect(body).toHaveLength(0);
      }
    },
  },
  BITS: {
    log: [
      ["HEAD au.download.windowsupdate.com:80 200", "windows-update/download"],
      ["GET au.download.windowsupdate.com:80 206", "windows-update/download"],
      ["GET au.download.windowsupdate.com:80 412", "windows-update/download"],
    ],
    check: ([head, piece, outdated], reached) => {
      const { path, size } = definitionUpdate;
      expect(head?.answer).toMatchObject({
        status: 200,
        body: Buffer.alloc(0),
        fields: { "content-length": String(size) },
      });
      expect(piece?.answer?.body).toHaveLength(size);
      expect(firstWrongByte(piece!.answer!.body, 0)).toBeUndefined();
      expect(piece?.answer).toMatchObject({
        status: 206,
        fields: { "content-range": `bytes 0-${size - 1}/${size}`, etag: head?.answer?.fields["etag"] },
      });
      expect(outdated?.answer).toMatchObject({ status: 412, body: Buffer.alloc(0) });
      expect(reached.map((request) => request.path)).toEqual([path, path, path]);
      expect(reached[1]?.fields).toMatchObject({
        range: `bytes=0-${size - 1}`,
        "if-unmodified-since": "Wed, 25 Nov 2020 16:46:48 GMT",
        "accept-encoding": "identity",
        "user-agent": "Microsoft BITS/7.8",
      });
    },
  },
  CryptoAPI: {
    log: [
      ["GET ctldl.windowsupdate.com:80 200", "microsoft-pki/trust-lists"],
      ["GET crl3.digicert.com:80 200", "digicert/crl"],
      ["GET ocsp.digicert.com:80 200", "digicert/ocsp"],
    ],
    check: (steps, reached) => {
      expectWhole(steps);
      expect(reached.map(({ host, path }) => `${host}${path}`)).toEqual([
        "ctldl.windowsupdate.com/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab?556e691713fe650f",
        "crl3.digicert.com/DigiCertGlobalG2TLSRSASHA2562020CA1-1.crl",
        `ocsp.digicert.com${ocspPath}`,
      ]);
      expect(reached[0]?.fields).toMatchObject({ "cache-control": "no-cache", pragma: "no-cache" });
    },
  },
  Automox: {
    log: [
      ["GET ocsp.digicert.com:80 200", "automox/revocation", "digicert/ocsp"],
      ["CONNECT api.automox.com:443 200", "automox/agent"],
      ["CONNECT storage-cdn.prod.automox.com:443 200", "automox/agent"],
      ["CONNECT automox-policy-files.s3.us-west-2.amazonaws.com:443 200", "automox/policy-files"],
    ],
    check: (steps, reached) => {
      expectWhole(steps);
      expect(reached[1]).toMatchObject({
        scheme: "https",
        path: "/api/cache?cmd=downloadLatestVersion&name=AgentUI&os=Mac&arch=64",
      });
    },
  },
  Action1: {
    log: [
      ["CONNECT server.action1.com:22543 200", "action1-na/agent"],
      ["CONNECT 54.210.188.13:22543 200", "action1-na/agent"],
      ["CONNECT 34.203.184.16:22543 200", "action1-na/relay-north-america"],
      ["CONNECT us-cdn.action1.com:443 200", "action1-na/packages"],
      ["CONNECT a1-backend-packages.s3.amazonaws.com:443 200", "action1-na/packages"],
    ],
    check: (steps) => {
      for (const { asked } of steps.slice(0, 3)) expect(asked).toMatch(/:22543, then bytes in TLSv1\.2$/);
      expectHeard(steps.slice(0, 3), "\u0000\u0000\u0000\u0010 what is to be done?");
      expectWhole(steps.slice(3));
    },
  },
  "Datto RMM": {
    log: [
      ["CONNECT concord-agent.centrastage.net:443 200", "datto-rmm/centrastage"],
      ["CONNECT update-concord.centrastage.net:443 200", "datto-rmm/centrastage"],
      ["CONNECT cpt-concord.centrastage.net.s3.amazonaws.com:443 200", "datto-rmm/concord"],
      ["CONNECT ts.centrastage.net:443 200", "datto-rmm/tunnel"],
      [`CONNECT ${controlChannel}:443 200`, "datto-rmm/control-channel"],
    ],
    check: (steps, reached) => {
      expectWhole(steps.slice(0, 3));
      expectHeard(steps.slice(3, 4), "\u0001 not TLS");
      expectHeard(steps.slice(4), "is there anything to do?");
      expect(reached.map(({ path }) => path)).toEqual(["/cs/version", "/cagupdate/UpdateState.xml", "/lab/component"]);
    },
  },
  Splashtop: {
    log: [
      ["CONNECT st.api.splashtop.com:443 200", "automox-remote-control/api"],
      ["CONNECT relay-xx.relay.splashtop.com:443 200", "automox-remote-control/relay"],
    ],
    check: (steps) => {
      expectWhole(steps.slice(0, 1));
      expectHeard(steps.slice(1), "SRS\u0002\u0000\u00ff a picture of the screen");
    },
  },
  "Automation Anywhere": {
    log: [
      [`CONNECT ${cloud}:443 200`, "automation-anywhere/cloud"],
      [`CONNECT ${controlRoom}:80 200`, "automation-anywhere/control-room-tunnel"],
      [`GET ${controlRoom}:80 101`, "automation-anywhere/control-room"],
    ],
    check: (steps, reached) => {
      expectHeard(steps, "Control Room heard: the bot agent is here");
      expect(reached.map(({ scheme, host, path }) => [scheme, host, path])).toEqual([
        ["https", cloud, "/lab/websocket"],
        ["http", controlRoom, "/lab/websocket"],
        ["http", controlRoom, "/lab/websocket"],
      ]);
    },
  },
  "Trend Micro": {
    log: [
      ["GET ocsp.rootca1.amazontrust.com:80 200", "amazon-trust/revocation"],
      ["CONNECT agents.workload.us-1.cloudone.trendmicro.com:443 200", "trend-micro-workload-security/workload"],
      ["CONNECT relay.workload.us-1.cloudone.trendmicro.com:443 200", "trend-micro-workload-security/workload"],
      ["GET iaus.activeupdate.trendmicro.com:80 200", "trend-micro-workload-security/updates"],
      ["GET files.trendmicro.com:80 200", "trend-micro-workload-security/download-center"],
    ],
    check: (steps) => {
      expect(steps[1]?.answer).toMatchObject({ status: 200, body: Buffer.from("POST with 9 bytes\n") });
      expectWhole(steps.filter((_, i) => i !== 1));
    },
  },
};

let lab: Lab;

beforeAll(async () => {
  lab = await startLab();
});

afterAll(async () => {
  await lab.close();
});

test("the lab's bytes tell a piece that is not from where it should be", () => {
  const piece = Buffer.from(payload(3 * 2 ** 20, 2 ** 20));
  expect(firstWrongByte(piece, 3 * 2 ** 20)).toBeUndefined();
  for (const elsewhere of [0, 2 ** 20, 2 * 2 ** 20, 3 * 2 ** 20 + 1])
    expect(firstWrongByte(piece, elsewhere)).toBeDefined();
  piece[70_000]! ^= 1;
  expect(firstWrongByte(piece, 3 * 2 ** 20)).toBe(3 * 2 ** 20 + 70_000);
});

describe.each(roster.map((agent) => [agent.name, agent] as const))(
  "%s, with its packs alone",
  (name, { packs, run }) => {
    let sallyport: Sallyport;

    beforeAll(async () => {
      sallyport = await startSallyport({ policy: { use: packs }, settings: { connect_to: lab.connectTo } });
    });

    afterAll(async () => {
      expect(await sallyport.stop()).toBe(0);
    });

    test("gets what it needs", async () => {
      await expectWork(sallyport, name, run, "alone");
    });

    test.each(missesOf(name))("%s is denied: %s", async (_asked, _because, miss) => {
      await expectDenied(sallyport, miss);
    });
  },
);

describe("all of them, with the default policy and automation-anywhere", () => {
  let sallyport: Sallyport;

  beforeAll(async () => {
    sallyport = await startSallyport({
      policy: { use: [automationAnywherePack] },
      settings: { policy: [defaultPolicy, "site.yaml"], connect_to: lab.connectTo },
    });
  });

  afterAll(async () => {
    expect(await sallyport.stop()).toBe(0);
  });

  test.each(roster.map((agent) => [agent.name, agent.run] as const))("%s gets what it needs", async (name, run) => {
    await expectWork(sallyport, name, run, "among all");
  });

  test.each(nearMisses.map(described))("%s is denied: %s", async (_asked, _because, miss) => {
    await expectDenied(sallyport, miss);
  });

  test("nothing went where no agent goes", () => {
    expect(lab.trapped()).toBe(0);
  });
});

describe("a clock that is short for everything but Datto's control channel", () => {
  let sallyport: Sallyport;

  beforeAll(async () => {
    const policy = { use: ["datto-rmm"], defaults: { idle_timeout: "1s" } };
    sallyport = await startSallyport({ policy, settings: { connect_to: lab.connectTo } });
  });

  afterAll(async () => {
    expect(await sallyport.stop()).toBe(0);
  });

  test("the silent channel outlives two other silent tunnels, one after the other", async () => {
    const around = surroundings(sallyport);
    const channel = await openChannel(around);
    expect(await channel.talk("before the silence")).toBe("before the silence");
    for (let other = 1; other <= 2; other++) {
      const silent = await openChannel(around, "concord.centrastage.net");
      await silent.untilClosed();
      const cuts = await logged(sallyport, 0, other);
      expect(cuts.at(-1)).toMatchObject({ rule: "datto-rmm/centrastage", closed_by: "idle" });
    }
    expect(await channel.talk("after it")).toBe("after it");
    await channel.hangUp();
    const [, , line] = await logged(sallyport, 0, 3);
    expect(line).toMatchObject({ rule: "datto-rmm/control-channel", closed_by: "client" });
    expect(line?.["duration_ms"]).toBeGreaterThan(2000);
  });
});

/** Runs an agent; then its steps, what reached the lab, and the log, line for line. */
async function expectWork(
  sallyport: Sallyport,
  name: AgentName,
  run: (around: Surroundings) => Promise<readonly Step[]>,
  packs: "alone" | "among all",
): Promise<void> {
  const { log, check } = expected[name];
  const seen = exchanges(sallyport).length;
  const before = lab.requests.length;
  const steps = await run(surroundings(sallyport));
  check(steps, lab.requests.slice(before));
  const lines = await logged(sallyport, seen, log.length);
  const told = lines.map((line) => {
    const [method = "", host = "", port = "", status = "", rule = ""] = [
      "method",
      "host",
      "port",
      "status",
      "rule",
    ].map((key) => String(line[key]));
    return `${method} ${host}:${port} ${status} ${rule}`;
  });
  expect(told.toSorted()).toEqual(
    log.map(([exchange, rule, among = rule]) => `${exchange} ${packs === "alone" ? rule : among}`).toSorted(),
  );
  for (const line of lines) expect(line).toMatchObject({ verdict: "allow", reason: "allowed", mode: "enforce" });
}

/** The client is told the reason, the log has it with the rule, and the lab has seen nothing. */
async function expectDenied(sallyport: Sallyport, miss: NearMiss): Promise<void> {
  const seen = exchanges(sallyport).length;
  const connections = lab.connections();
  const requests = lab.requests.length;
  const refused = await attempt(sallyport.port, miss);
  const [line] = await logged(sallyport, seen, 1);
  expect(line).toMatchObject({ verdict: "deny", reason: miss.reason, mode: "enforce" });
  expect(line?.["rule"]).toBe(miss.rule);
  if (line?.["stage"] === "tunnel") {
    expect(refused.told).toBe(tunnelDenials[miss.reason]);
    expect(line["bytes_up"] ?? 0).toBe(0);
  } else {
    expect(refused.told).toBe(`403 Denied: ${miss.reason} ${String(line?.["denial"])}`);
    expect(lab.connections()).toBe(connections);
  }
  expect(lab.requests).toHaveLength(requests);
}

const tunnelDenials: Readonly<Record<string, string>> = {
  sni_mismatch: "200, then TLS alert 112",
  tls_version: "200, then TLS alert 70",
  not_tls: "200, then the end",
};

function missesOf(name: AgentName): readonly (readonly [string, string, NearMiss])[] {
  return nearMisses.filter(({ agent }) => agent === name).map(described);
}

function described(miss: NearMiss): readonly [asked: string, because: string, miss: NearMiss] {
  return [inShort(miss), miss.because, miss];
}

function surroundings({ port }: Sallyport): Surroundings {
  return { proxyPort: port, ca: lab.ca };
}

function exchanges({ log }: Sallyport): readonly LogLine[] {
  return log.filter(({ event }) => event === "connect" || event === "request");
}

/** The lines of so many exchanges behind the first `seen`, as soon as they are there. */
async function logged(sallyport: Sallyport, seen: number, count: number): Promise<readonly LogLine[]> {
  await expect
    .poll(() => exchanges(sallyport).length - seen, { timeout: 5000, interval: 10 })
    .toBeGreaterThanOrEqual(count);
  return exchanges(sallyport).slice(seen);
}

function expectWhole(steps: readonly Step[]): void {
  for (const { answer } of steps) expect(answer).toMatchObject({ status: 200, body: whole });
}

function expectHeard(steps: readonly Step[], text: string): void {
  for (const { heard } of steps) expect(heard).toBe(text);
}
