/** Sallyport as a contender: everything it checks and logs by default, from a built checkout. */
import { accessSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { launch, startOnFreePort } from "./children.ts";
import { type Candidate, type Rig, address, hosts, otherApexes, tunnelApex, webApex } from "./contender.ts";

export type SallyportOptions = {
  readonly name: string;
  /** The directory with `dist/`. */
  readonly checkout: string;
  /** Undefined leaves the setting out. */
  readonly workers?: number;
};

/** Asked so that a stray limit stops no measurement; the checks are as they are by default. */
const limits = { connections: 60_000, per_client: 60_000 };

export function findSallyport(rig: Rig, { name, checkout, workers }: SallyportOptions): Candidate {
  const program = resolve(checkout, "dist/main.js");
  try {
    accessSync(program);
  } catch {
    return { name, problem: `there is no ${program}: npm run build makes it` };
  }
  const settings = {
    version: 1,
    admin: { address: "127.0.0.1:0" },
    policy: ["site.yaml"],
    dns: { hosts: { [`*.${webApex}`]: address, [`*.${tunnelApex}`]: address } },
    limits,
    log: { file: "access.log" },
    ...(workers === undefined ? {} : { workers }),
  };
  return {
    name,
    version: versionOf(checkout),
    judgesServerName: true,
    hosts,
    start: async () => {
      const directory = mkdtempSync(join(rig.directory, "sallyport-"));
      writeFileSync(join(directory, "site.yaml"), stringify(policy(rig)));
      const config = join(directory, "sallyport.yaml");
      const { port, child } = await startOnFreePort((free) => {
        const listen = [{ kind: "proxy", address: `${address}:${free}` }];
        writeFileSync(config, stringify({ ...settings, listen }));
        return launch(process.execPath, [program, "serve", "--config", config], directory);
      });
      return { ...child, port, log: join(directory, "access.log") };
    },
  };
}

function policy({ webPort, tunnelPort }: Rig): unknown {
  const rule = (id: string, apex: string, expect: string): object => ({
    id,
    hosts: [`*.${apex}`],
    expect,
    resolves_to: [`${address}/32`],
  });
  return {
    version: 1,
    name: "site",
    rules: [
      { ...rule("payload", webApex, `http:${webPort}`), range: "allow" },
      rule("control", tunnelApex, `https:${tunnelPort}`),
      ...otherApexes.map((apex, i) => rule(`vendor-${i}`, apex, "https")),
    ],
  };
}

function versionOf(checkout: string): string {
  const read: unknown = JSON.parse(readFileSync(resolve(checkout, "package.json"), "utf8"));
  const version = typeof read === "object" && read !== null && "version" in read ? String(read.version) : "?";
  return `${version} on Node ${process.version}`;
}
