/**
 * Squid as a contender, with the same policy work: `dstdomain` for plain HTTP, and for CONNECT the server name of the
 * ClientHello, peeked at and judged by `ssl::server_name`. Nothing is cached, and its log is the cheapest it has.
 */
import { execFileSync } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { requireTool } from "../../test/support/tools.ts";
import { launch, startOnFreePort } from "./children.ts";
import { type Candidate, type Rig, address, hosts, otherApexes, tunnelApex, webApex } from "./contender.ts";

const name = "Squid";

export function findSquid(rig: Rig): Candidate {
  const program = requireTool("squid");
  if (program === undefined) return { name, problem: "squid is not installed (Debian: squid-openssl)" };
  const about = execFileSync(program, ["-v"], { encoding: "utf8" });
  if (!about.includes("--with-openssl")) {
    return { name, problem: "this squid has no ssl_bump; Debian's package squid-openssl has" };
  }
  const user = userWhenRoot();
  return {
    name,
    version: /Version (\S+)/.exec(about)?.[1] ?? "?",
    judgesServerName: true,
    hosts,
    start: async () => {
      const directory = mkdtempSync(join(rig.directory, "squid-"));
      if (user !== undefined) chownSync(directory, user.uid, user.gid);
      const names = [webApex, tunnelApex, ...otherApexes].map((apex) => `.${apex}\n`).join("");
      writeFileSync(join(directory, "allowed.txt"), names);
      writeFileSync(join(directory, "hosts"), `${address} ${hosts.web} ${hosts.tunnel}\n`);
      // Names of shared memory come from the service's name: letters and digits, and our own.
      const service = basename(directory).replaceAll(/[^A-Za-z0-9]/g, "");
      const { port, child } = await startOnFreePort((free) => {
        writeFileSync(join(directory, "squid.conf"), configuration(rig, directory, free, user?.name));
        return launch(program, ["-N", "-n", service, "-f", join(directory, "squid.conf")], directory);
      });
      return { ...child, port, log: join(directory, "access.log") };
    },
  };
}

function configuration(rig: Rig, directory: string, port: number, user: string | undefined): string {
  return `
http_port ${address}:${port} ssl-bump cert=${rig.certificate.cert} key=${rig.certificate.key} generate-host-certificates=off
acl step1 at_step SslBump1
acl allowed dstdomain "${directory}/allowed.txt"
acl allowed_name ssl::server_name "${directory}/allowed.txt"
acl CONNECT method CONNECT
acl web_port port ${rig.webPort}
acl tunnel_port port ${rig.tunnelPort}
http_access deny CONNECT !tunnel_port
http_access deny !CONNECT !web_port
http_access allow allowed
http_access deny all
ssl_bump peek step1
ssl_bump splice allowed_name
ssl_bump terminate all
access_log stdio:${directory}/access.log squid
buffered_logs on
cache_log ${directory}/cache.log
cache_store_log none
cache deny all
cache_mem 8 MB
memory_pools on
hosts_file ${directory}/hosts
dns_nameservers ${address}
pid_filename none
netdb_filename none
pinger_enable off
coredump_dir ${directory}
shutdown_lifetime 0 seconds
max_filedescriptors 16384
visible_hostname bench.example
${user === undefined ? "" : `cache_effective_user ${user}`}
`;
}

/** Squid does not run as root: it becomes this user. */
function userWhenRoot(): { readonly name: string; readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const wanted of ["proxy", "squid", "nobody"]) {
    const found = users.find(([user]) => user === wanted);
    if (found !== undefined) return { name: wanted, uid: Number(found[2]), gid: Number(found[3]) };
  }
  return undefined;
}
