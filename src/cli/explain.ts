/** `sallyport explain`: what the policy makes of one request, and why; or with `--ndjson` of a stream of them. */
import { type Command, Option } from "commander";
import { explanationFields } from "../review/explanation-fields.ts";
import { answerLines } from "./explain-ndjson.ts";
import { type RequestLine, readRequestLine } from "./explain-request-line.ts";
import { type RequestWords, createRequestReader } from "../config/read-request.ts";
import { explanationText } from "./explain-text.ts";
import { explainRequest } from "../review/explanation.ts";
import type { ExitCode, Io } from "./io.ts";
import { placesFrom } from "./places.ts";
import { type SourceOptions, loadSources } from "./sources.ts";
import { sayError, sayHint } from "./terminal.ts";

/** The words of the command line, unjudged. False is the `--no-` form. */
type ExplainOptions = SourceOptions & {
  readonly client?: string;
  readonly group?: string;
  readonly host?: string;
  readonly range?: string;
  readonly sni?: string | false;
  readonly tls?: string | false;
  readonly ech?: boolean;
  readonly serverTls?: string;
  readonly resolved?: readonly string[];
  readonly time?: string;
  readonly ndjson?: boolean;
};

/** Gives the command its arguments, its help and what it does. */
export function configureExplain(command: Command, io: Io, done: (code: ExitCode) => void): void {
  command
    .argument("[request]", 'the request: "CONNECT host:port" or "GET http://host/path"')
    .option("--client <address>", "who asks (127.0.0.1)")
    .option("--group <name>", "a group that the client is in, besides those of its address")
    .option("--host <host>", "the Host field, where it differs from the target")
    .option("--range <value>", "the Range field, as bytes=0-1")
    .option("--sni <name>", "the server name of the ClientHello")
    .option("--no-sni", "a ClientHello without a server name")
    .option("--tls <version>", "the highest TLS version that the client offers: 1.0 to 1.3")
    .option("--no-tls", "a tunnel whose first bytes are no TLS")
    .option("--ech", "a ClientHello with Encrypted ClientHello")
    .option("--server-tls <version>", "the TLS version that the server negotiates")
    .option("--resolved <address...>", "what the name resolves to; may be repeated")
    .option("--time <moment>", "when: 2027-03-01 or 2027-03-01T12:00:00Z (now)")
    .addOption(
      new Option("--ndjson", "read one request a line from standard input, as JSON").conflicts(singleRequestOptions),
    )
    .addHelpText("after", help)
    .action(async (request: string | undefined, options: ExplainOptions) =>
      done(await runExplain(request, options, io)),
    );
}

/** 0 allowed (with `--ndjson`: every line answered), 1 denied, 2 usage, 3 invalid file. */
function runExplain(request: string | undefined, options: ExplainOptions, io: Io): Promise<ExitCode> {
  if (options.ndjson !== true) return Promise.resolve(explainOne(request, options, io));
  if (request === undefined) return explainLines(options, io);
  return Promise.resolve(refuse(io, "--ndjson reads its requests from standard input", "leave the request out"));
}

function explainOne(request: string | undefined, options: ExplainOptions, io: Io): ExitCode {
  const line = readRequestLine(request, options.resolved ?? []);
  if (line.kind === "problem") return refuse(io, line.message, line.hint);
  const words = wordsOf(line, options);
  const misplaced = misplacedOption(line, words);
  if (misplaced !== undefined) return refuse(io, misplaced);
  const sources = loadSources(options, io, "start");
  if (sources.kind === "failed") return sources.exit;
  const reading = createRequestReader(sources.ruleset.groups)(words);
  if (reading.kind === "problem") {
    const { key, text, message, instead } = reading;
    const flag = flagOf(key);
    return refuse(io, `${flag} ${text} ${message}`, instead === undefined ? undefined : `write ${flag} ${instead}`);
  }
  const explanation = explainRequest(sources.ruleset, reading.request, io.now(), placesFrom(io.cwd));
  if (options.json === true) io.stdout(`${JSON.stringify(explanationFields(explanation))}\n`);
  else io.stdout(explanationText(explanation));
  if (sources.isDefault)
    sayHint(io, "no configuration was found: this is the default policy, the packs of every vendor");
  return explanation.answer.verdict === "allow" ? 0 : 1;
}

async function explainLines(options: ExplainOptions, io: Io): Promise<ExitCode> {
  const sources = loadSources(options, io, "start");
  if (sources.kind === "failed") return sources.exit;
  const end = await answerLines(io.stdin, sources.ruleset, io.now, { write: io.stdout, ready: io.stdoutReady });
  if (end.kind === "unreadable") {
    sayError(
      io,
      `standard input cannot be read: ${end.error instanceof Error ? end.error.message : String(end.error)}`,
    );
  }
  return end.kind === "answered" ? 0 : 1;
}

/** An option that the request has no place for is a mistake about what the proxy can see, and not ignored. */
function misplacedOption({ method }: RequestLine, words: RequestWords): string | undefined {
  const isConnect = method === "CONNECT";
  const key = (isConnect ? ["range"] : ["sni", "tls", "ech", "server_tls"]).find((one) => words[one] !== undefined);
  if (key === undefined) return undefined;
  const why = isConnect
    ? "what goes through a tunnel is not the proxy's to see"
    : "only a CONNECT carries a ClientHello";
  return `${flagOf(key)} has no place here: ${why}`;
}

function flagOf(key: string): string {
  return `--${key.replaceAll("_", "-")}`;
}

function refuse(io: Io, message: string, hint?: string): ExitCode {
  sayError(io, message);
  if (hint !== undefined) sayHint(io, hint);
  return 2;
}

const singleRequestOptions = ["client", "group", "host", "range", "sni", "tls", "ech", "serverTls", "resolved", "time"];

const help = `
Tells what the proxy would do, from the policy alone: nothing is looked up, dialled or changed. For a CONNECT, --sni and
--tls judge the tunnel as well; with --tls alone the server name is the target's, with --sni alone the version meets the
floor.

Examples:
  sallyport explain "GET http://au.download.windowsupdate.com/x.cab" --range bytes=0-1 --client 10.20.1.4
  sallyport explain "CONNECT fe2.update.microsoft.com:443" --sni fe2.update.microsoft.com --tls 1.2
  echo '{"method":"CONNECT","target":"api.automox.com:443","tls":"1.3"}' | sallyport explain --ndjson

Keys with --ndjson: method, target, and where known host, range, sni, tls, client, group, ech, server_tls, resolved, time;
others are left alone. "sni":null is a hello without a server name, "tls":null are bytes that are no TLS. A line that
cannot be read, or names no known group, is answered bad_request.

Exit: 0 allowed, or every line answered; 1 denied; 2 usage; 3 invalid file.`;

function wordsOf({ method, target }: RequestLine, options: ExplainOptions): RequestWords {
  const { client, group, host, range, sni, tls, ech, serverTls, resolved, time } = options;
  return {
    method,
    target,
    client,
    group,
    host,
    range,
    sni: sni === false ? null : sni,
    tls: tls === false ? null : tls,
    ech,
    server_tls: serverTls,
    resolved: resolved?.flatMap((text) => text.split(",")),
    time,
  };
}
