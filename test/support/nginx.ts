/** A real nginx as origin: static files over HTTP and HTTPS on loopback, with a log of what reached it. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endProcess } from "./end-process.ts";
import { freePort } from "./ports.ts";
import { requireTool } from "./tools.ts";

export type NginxOptions = {
  /** Absolute path of the directory that is served. */
  readonly root: string;
  /** PEM text: the certificate, with its chain behind it, and its key. Without it there is no HTTPS. */
  readonly tls?: { readonly cert: string; readonly key: string };
};

export type Nginx = {
  readonly httpPort: number;
  /** 0 without `tls`. */
  readonly httpsPort: number;
  /**
   * One line of JSON for each request whose answer has been sent, oldest first. Its keys are those of
   * `loggedVariables`; all values are strings, "" where the request had no such field. Where a field was sent
   * more than once, nginx before 1.23 has only one of them.
   */
  readonly accessLog: () => Promise<string[]>;
  /** Ends nginx and removes its directory. May be called twice. */
  readonly stop: () => Promise<void>;
};

/** nginx cannot log all fields of a request, only those it is asked for: hop-by-hop, proxying, ranges, and the usual. */
const loggedFields = `
  host via connection keep_alive proxy_connection proxy_authorization te trailer upgrade transfer_encoding
  content_length content_type expect range if_range if_none_match if_modified_since accept accept_encoding
  cache_control pragma user_agent authorization cookie referer forwarded x_forwarded_for x_forwarded_host
  x_forwarded_proto x_real_ip max_forwards cdn_loop`;

/** nginx variables, without the `$`, that become the keys of a log line: `request` is the request line as it came. */
export const loggedVariables: readonly string[] = [
  ..."scheme request request_method request_uri server_protocol status body_bytes_sent".split(" "),
  ..."remote_addr remote_port connection connection_requests ssl_protocol ssl_server_name".split(" "),
  ...loggedFields
    .trim()
    .split(/\s+/)
    .map((field) => `http_${field}`),
];

const startTimeoutMs = 10_000;
const startAttempts = 5;

/** Starts nginx and returns once it answers. Runs as whoever runs the tests. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  for (let attempt = 1; ; attempt++) {
    const httpPort = await freePort();
    const httpsPort = options.tls === undefined ? 0 : await freePort();
    const started = await launch(options, httpPort, httpsPort);
    if (typeof started !== "string") return started;
    // A port that was free has been given to somebody else meanwhile, or to us twice.
    if (attempt < startAttempts && /address already in use|duplicate listen/i.test(started)) continue;
    throw new Error(`nginx did not start: ${started}`);
  }
}

/** Answers what nginx said where it did not start. */
async function launch(options: NginxOptions, httpPort: number, httpsPort: number): Promise<Nginx | string> {
  const program = requireTool("nginx");
  if (program === undefined) throw new Error("nginx is not on PATH: use describeWithTool");
  const prefix = await mkdtemp(join(tmpdir(), "sallyport-nginx-"));
  const probePath = `/.probe-${randomUUID()}`;
  if (options.tls !== undefined) {
    await writeFile(join(prefix, "cert.pem"), options.tls.cert);
    await writeFile(join(prefix, "key.pem"), options.tls.key, { mode: 0o600 });
  }
  await writeFile(join(prefix, "access.log"), "");
  await writeFile(
    join(prefix, "nginx.conf"),
    configuration({ root: options.root, prefix, probePath, httpPort, httpsPort }),
  );

  const child = spawn(program, ["-p", prefix, "-c", join(prefix, "nginx.conf"), "-e", "stderr"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {},
  });
  const killAtExit = (): boolean => child.kill("SIGKILL");
  process.once("exit", killAtExit);
  const stop = async (): Promise<void> => {
    await endProcess(child);
    process.removeListener("exit", killAtExit);
    await rm(prefix, { recursive: true, force: true });
  };

  const problem = await untilListening(child);
  if (problem !== undefined) {
    await stop();
    return problem;
  }
  try {
    await probe(httpPort, probePath);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    httpPort,
    httpsPort,
    accessLog: async () => {
      // One process serves and logs: when it answers the probe, what it served before is in the log.
      await probe(httpPort, probePath);
      const log = await readFile(join(prefix, "access.log"), "utf8");
      return log.split("\n").filter((line) => line !== "");
    },
    stop,
  };
}

/** Waits for the line that nginx writes after it has bound its ports; answers its words where it gives up instead. */
async function untilListening(child: ChildProcess): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = "";
    const settle = (problem: string | undefined): void => {
      clearTimeout(deadline);
      resolve(problem);
    };
    const deadline = setTimeout(() => settle(`no word within ${startTimeoutMs} ms\n${said}`), startTimeoutMs);
    child.once("error", (error) => settle(error.message));
    child.once("close", (code, signal) => settle(`ended with ${code ?? signal}\n${said}`));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      // Read to the end, so that nginx never waits for its log.
      if (said.length < 65_536) said += text;
      if (said.includes("event method")) settle(undefined);
    });
  });
}

/** Asks for a path that only this nginx knows, so that no other server on the port is taken for it. */
async function probe(port: number, path: string): Promise<void> {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, agent: false, timeout: startTimeoutMs }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode));
    });
    request.once("error", reject);
    request.once("timeout", () => request.destroy(new Error(`nginx did not answer within ${startTimeoutMs} ms`)));
  });
  if (status !== 204) throw new Error(`port ${port} is not our nginx: status ${status}`);
}

type Site = {
  readonly root: string;
  readonly prefix: string;
  readonly probePath: string;
  readonly httpPort: number;
  readonly httpsPort: number;
};

function configuration(site: Site): string {
  const listen = [`listen 127.0.0.1:${site.httpPort};`];
  if (site.httpsPort !== 0) {
    listen.push(
      `listen 127.0.0.1:${site.httpsPort} ssl;`,
      `ssl_certificate "${site.prefix}/cert.pem";`,
      `ssl_certificate_key "${site.prefix}/key.pem";`,
      "ssl_protocols TLSv1.2 TLSv1.3;",
    );
  }
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const logged = loggedVariables.map((name) => `"${name}":"$${name}"`).join(",");
  return `
daemon off;
master_process off;
pid "${site.prefix}/nginx.pid";
error_log stderr notice;
events { worker_connections 256; }
http {
  ${temporary.map((name) => `${name}_temp_path "${site.prefix}/${name}";`).join("\n  ")}
  types { text/html html; text/plain txt; application/json json; }
  default_type application/octet-stream;
  server_tokens off;
  # Lingering would hold a request's log line back.
  lingering_close off;
  log_format fields escape=json '{${logged}}';
  access_log "${site.prefix}/access.log" fields;
  server {
    ${listen.join("\n    ")}
    root "${site.root}";
    location = ${site.probePath} { access_log off; return 204; }
  }
}
`;
}
