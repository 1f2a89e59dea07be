/** tinyproxy as a contender: a list of names that are allowed, and no look into tunnels. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { requireTool } from "../../test/support/tools.ts";
import { launch, startOnFreePort } from "./children.ts";
import { type Candidate, type Rig, address, otherApexes } from "./contender.ts";

const name = "tinyproxy";
/** It has no hosts file of its own, so the origins go by the one name that every machine knows. */
const host = "localhost";

export function findTinyproxy(rig: Rig): Candidate {
  const program = requireTool("tinyproxy");
  if (program === undefined) return { name, problem: "tinyproxy is not installed" };
  return {
    name,
    version: /tinyproxy (\S+)/.exec(execFileSync(program, ["-v"], { encoding: "utf8" }))?.[1] ?? "?",
    judgesServerName: false,
    note: "no SNI, no keep-alive; asked for localhost, since it has no hosts file of its own",
    hosts: { web: host, tunnel: host, denied: "www.other.example" },
    start: async () => {
      const directory = mkdtempSync(join(rig.directory, "tinyproxy-"));
      const middle = otherApexes.length / 2;
      const names = otherApexes.map((apex) => `*.${apex}`).toSpliced(middle, 0, host);
      writeFileSync(join(directory, "allowed.txt"), names.map((line) => `${line}\n`).join(""));
      const { port, child } = await startOnFreePort((free) => {
        writeFileSync(join(directory, "tinyproxy.conf"), configuration(rig, directory, free));
        return launch(program, ["-d", "-c", join(directory, "tinyproxy.conf")], directory);
      });
      return { ...child, port, log: join(directory, "access.log") };
    },
  };
}

function configuration(rig: Rig, directory: string, port: number): string {
  return `
Port ${port}
Listen ${address}
Timeout 600
MaxClients 8192
LogFile "${directory}/access.log"
LogLevel Connect
Filter "${directory}/allowed.txt"
FilterType fnmatch
FilterDefaultDeny Yes
ConnectPort ${rig.tunnelPort}
`;
}
