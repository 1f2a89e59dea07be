/** Asks a running proxy something, over its admin server. */
import { isAbsolute, join } from "node:path";
import { readFailure } from "../config/disk.ts";
import { loadSettings } from "../config/load.ts";
import { authorityFromHere } from "./from-here.ts";
import type { ExitCode, Io } from "./io.ts";
import { configPath, diskAt } from "./policy-target.ts";
import { sayError, sayHint, sayProblems } from "./terminal.ts";

/** Where the proxy is: said on the command line, else as the configuration has it. */
export type ProxyOptions = { readonly config?: string; readonly admin?: string; readonly tokenFile?: string };

export type ProxyAnswer =
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  /** What is wrong was said. */
  | { readonly kind: "failed"; readonly exit: ExitCode };

const timeoutMs = 15_000;

/** `path` with its query. Exit 1 where there is no answer, 3 where the configuration is invalid. */
export async function askProxy(options: ProxyOptions, io: Io, path: string, accept: string): Promise<ProxyAnswer> {
  const way = findProxy(options, io);
  if (way.kind === "failed") return way;
  try {
    const response = await fetch(`${way.origin}${path}`, {
      headers: { accept, ...(way.token === undefined ? {} : { authorization: `Bearer ${way.token}` }) },
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    });
    return { kind: "answer", status: response.status, body: await response.text() };
  } catch (error) {
    sayError(io, `the proxy cannot be asked at ${way.origin}: ${messageOf(error)}`);
    sayHint(io, "is it running? --admin ADDRESS asks another one, --log FILE reads a log instead");
    return { kind: "failed", exit: 1 };
  }
}

type Way =
  | { readonly kind: "way"; readonly origin: string; readonly token: string | undefined }
  | { readonly kind: "failed"; readonly exit: ExitCode };

function findProxy({ config, admin, tokenFile }: ProxyOptions, io: Io): Way {
  const reading = loadSettings({ ...diskAt(io), path: configPath(config, io), flags: {}, env: io.env });
  if (reading.kind === "problems") {
    sayProblems(io, reading.problems);
    return { kind: "failed", exit: 3 };
  }
  const { address, token } = reading.settings.admin;
  const given = tokenFile === undefined ? token : readToken(tokenFile, io);
  if (given === false) return { kind: "failed", exit: 3 };
  if (admin !== undefined) {
    const origin = originOf(admin);
    if (origin !== undefined) return { kind: "way", origin, token: given };
    sayError(io, `--admin ${admin} is no address: write HOST:PORT`);
    return { kind: "failed", exit: 2 };
  }
  if (address.port === 0) {
    sayError(io, "admin.address has port 0, so that nobody knows where the proxy is: say --admin ADDRESS");
    return { kind: "failed", exit: 2 };
  }
  return { kind: "way", origin: `http://${authorityFromHere(address)}`, token: given };
}

/** `HOST:PORT`, or a URL without a path. */
function originOf(text: string): string | undefined {
  const url = /^https?:\/\//.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url)) return undefined;
  const { origin, pathname, search, username } = new URL(url);
  return pathname === "/" && search === "" && username === "" ? origin : undefined;
}

function readToken(file: string, io: Io): string | false {
  const path = isAbsolute(file) ? file : join(io.cwd, file);
  try {
    return io.disk.readFile(path).trim();
  } catch (error) {
    sayError(io, `--token-file ${file} ${readFailure(error)}`);
    return false;
  }
}

/** fetch says "fetch failed", and why in the cause. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
