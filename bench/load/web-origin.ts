/** The origin of plain HTTP: a real nginx with files of random bytes, set up to cost as little as it can. */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { requireTool } from "../../test/support/tools.ts";
import { launch, startOnFreePort } from "./children.ts";
import { mebibyte, payloadBytes, smallBytes } from "./plan.ts";

export type WebOrigin = {
  readonly port: number;
  readonly small: Buffer;
  readonly payload: Buffer;
  readonly stop: () => Promise<void>;
};

export const smallPath = "/small.bin";
export const payloadPath = "/payload.bin";

/** Rejects where there is no nginx. */
export async function startWebOrigin(parent: string): Promise<WebOrigin> {
  const program = requireTool("nginx");
  if (program === undefined) throw new Error("nginx is not installed, and there is no benchmark without an origin");
  const prefix = join(parent, "nginx");
  const root = join(prefix, "www");
  mkdirSync(root, { recursive: true });
  const small = randomBytes(smallBytes);
  // Blocks with their numbers, so that a lost or doubled one shows in the checksum.
  const payload = Buffer.alloc(payloadBytes, randomBytes(mebibyte));
  for (let at = 0; at < payload.length; at += mebibyte) payload.writeUInt32BE(at / mebibyte, at);
  writeFileSync(join(root, smallPath), small);
  writeFileSync(join(root, payloadPath), payload);
  const { port, child } = await startOnFreePort((free) => {
    writeFileSync(join(prefix, "nginx.conf"), configuration(prefix, root, free));
    return launch(program, ["-p", prefix, "-c", join(prefix, "nginx.conf"), "-e", "stderr"], prefix);
  });
  return { port, small, payload, stop: child.stop };
}

function configuration(prefix: string, root: string, port: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `
daemon off;
master_process off;
pid "${prefix}/nginx.pid";
error_log stderr error;
events { worker_connections 8192; }
http {
  ${temporary.map((name) => `${name}_temp_path "${prefix}/${name}";`).join("\n  ")}
  default_type application/octet-stream;
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root "${root}";
  }
}
`;
}
