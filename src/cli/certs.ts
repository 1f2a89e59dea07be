/** `sallyport certs init | leaf | show`: a private authority, its leaves, and what the directory holds. */
import { parseAddress } from "../names/address.ts";
import { createAuthority, maxAuthorityDays } from "../pki/authority.ts";
import { issueLeaf, maxLeafDays } from "../pki/leaf.ts";
import {
  authorityBaseName,
  certificateFiles,
  findExisting,
  listCertificates,
  readAuthority,
  type StoredCertificate,
  type StoreWriting,
  writeAuthority,
  writeLeaf,
} from "../pki/store.ts";

/** The words of the command line, unjudged: numbers are still text. */
export type CertsArguments =
  | {
      readonly command: "init";
      readonly directory: string;
      readonly json: boolean;
      readonly name?: string;
      readonly days?: string;
      /** Domains, addresses and CIDR blocks; none means no constraint. */
      readonly permit: readonly string[];
    }
  | {
      readonly command: "leaf";
      readonly directory: string;
      readonly json: boolean;
      readonly names: readonly string[];
      readonly client: boolean;
      readonly days?: string;
    }
  | { readonly command: "show"; readonly directory: string; readonly json: boolean };

/** Where a command reads the time and says what it has to say; texts are whole lines with their line ends. */
export type CertsIo = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Epoch milliseconds. */
  readonly now: () => number;
};

/** 0 fine, 1 problems found, 2 usage, 3 invalid file. */
export type CertsExit = 0 | 1 | 2 | 3;

const defaultAuthorityName = "Sallyport local authority";
const dayMs = 86_400_000;
/** A leaf this near its end is worth a hint. */
const expiringDays = 30;

/** Runs one of the commands; every expected failure is an exit code with an error and a hint on `stderr`. */
export async function runCerts(args: CertsArguments, io: CertsIo): Promise<CertsExit> {
  switch (args.command) {
    case "init":
      return initAuthority(args, io);
    case "leaf":
      return makeLeaf(args, io);
    case "show":
      return showCertificates(args, io);
  }
}

async function initAuthority(args: CertsArguments & { command: "init" }, io: CertsIo): Promise<CertsExit> {
  const days = parseDays(args.days, maxAuthorityDays);
  if (days === "invalid") return fail(io, 2, `--days ${args.days} is not 1 to ${maxAuthorityDays}`);
  const files = certificateFiles(args.directory, authorityBaseName);
  const existing = await findExisting(files);
  if (existing !== undefined) return refuseOverwrite(io, existing);
  const isBlock = (text: string) => text.includes("/") || parseAddress(text) !== undefined;
  const made = await createAuthority({
    name: args.name ?? defaultAuthorityName,
    ...(days === undefined ? {} : { validDays: days }),
    ...(args.permit.length === 0
      ? {}
      : {
          nameConstraints: {
            permittedDns: args.permit.filter((text) => !isBlock(text)),
            permittedAddresses: args.permit.filter(isBlock),
          },
        }),
    now: io.now(),
  });
  if (made.kind === "problem") return fail(io, 2, made.problem);
  const writing = await writeAuthority(args.directory, made.authority);
  return reportWriting(args, io, writing, [], made.authority.notAfter, [
    `trust ${files.certFile} on the clients; ${files.keyFile} stays on this machine and out of git`,
    `sallyport certs leaf proxy.example.com${directoryFlag(args)} makes a server certificate`,
  ]);
}

async function makeLeaf(args: CertsArguments & { command: "leaf" }, io: CertsIo): Promise<CertsExit> {
  const days = parseDays(args.days, maxLeafDays);
  if (days === "invalid") return fail(io, 2, `--days ${args.days} is not 1 to ${maxLeafDays}`);
  const reading = await readAuthority(args.directory);
  if (reading.kind === "missing") {
    return fail(
      io,
      1,
      `there is no authority: ${reading.file} is missing`,
      `run sallyport certs init${directoryFlag(args)} first`,
    );
  }
  if (reading.kind === "invalid") return fail(io, 3, `${reading.file}: ${reading.problem}`);
  const request = {
    names: args.names,
    usage: args.client ? "client" : "server",
    ...(days === undefined ? {} : { validDays: days }),
    now: io.now(),
  } as const;
  if (args.names[0]?.toLowerCase() === authorityBaseName) {
    return fail(
      io,
      2,
      `the file name ${authorityBaseName} is the authority's`,
      "put another name first: it names the files",
    );
  }
  const made = await issueLeaf(reading.authority, request);
  if (made.kind === "problem") return fail(io, made.fault === "request" ? 2 : 1, made.problem);
  const { leaf } = made;
  const writing = await writeLeaf(args.directory, leaf);
  return reportWriting(args, io, writing, leaf.names, leaf.notAfter, wildcardHints(leaf.names));
}

async function showCertificates(args: CertsArguments & { command: "show" }, io: CertsIo): Promise<CertsExit> {
  const certificates = await listCertificates(args.directory);
  if (certificates === undefined || certificates.length === 0) {
    return fail(
      io,
      1,
      `${args.directory} holds no certificates`,
      `run sallyport certs init${directoryFlag(args)} first`,
    );
  }
  const now = io.now();
  const judged = certificates.map((certificate) => ({ certificate, findings: judge(certificate, now) }));
  io.stdout(
    args.json
      ? line({
          directory: args.directory,
          certificates: judged.map(({ certificate, findings }) => asJson(certificate, findings)),
        })
      : judged.map(({ certificate }) => asText(certificate, now)).join(""),
  );
  const findings = judged.flatMap((one) => one.findings);
  for (const { error, hint } of findings) {
    if (error !== undefined) io.stderr(`sallyport: error: ${error}\n`);
    io.stderr(`sallyport: hint: ${hint}\n`);
  }
  return findings.some(({ error }) => error !== undefined) ? 1 : 0;
}

function reportWriting(
  args: CertsArguments,
  io: CertsIo,
  writing: StoreWriting,
  names: readonly string[],
  notAfter: number,
  hints: readonly string[],
): CertsExit {
  if (writing.kind === "exists") return refuseOverwrite(io, writing.file);
  if (writing.kind === "unwritable") return fail(io, 1, writing.problem);
  const { certFile, keyFile } = writing;
  const expires = new Date(notAfter).toISOString();
  io.stdout(
    args.json
      ? line({ cert: certFile, key: keyFile, names, not_after: expires })
      : `${certFile}\n${keyFile}\nvalid until ${expires.slice(0, 10)}\n`,
  );
  for (const hint of hints) io.stderr(`sallyport: hint: ${hint}\n`);
  return 0;
}

/** In a policy `*.example.com` covers example.com and every depth; in a certificate it is one label and no apex. */
function wildcardHints(names: readonly string[]): string[] {
  const wildcards = names.filter((name) => name.startsWith("*."));
  return wildcards
    .filter((name) => !names.includes(name.slice(2)))
    .map((name) => `in a certificate ${name} covers one label only: name ${name.slice(2)} too if it is to be covered`);
}

/** A finding without `error` is advice and does not change the exit code. */
type Finding = { readonly error: string | undefined; readonly hint: string };

function judge(certificate: StoredCertificate, now: number): Finding[] {
  const { certFile, keyFile, description, key } = certificate;
  if (description.kind === "unreadable") {
    return [{ error: `${certFile}: no readable certificate`, hint: `restore ${certFile} or remove it` }];
  }
  const findings: Finding[] = [];
  const renewal = description.isCa
    ? "make a new authority in another directory, and let clients trust both meanwhile"
    : `move ${certFile} and ${keyFile} away and run sallyport certs leaf again`;
  const days = Math.floor((description.notAfter - now) / dayMs);
  if (days < 0) findings.push({ error: `${certFile} expired on ${dateText(description.notAfter)}`, hint: renewal });
  else if (days < expiringDays)
    findings.push({ error: undefined, hint: `${certFile} expires in ${days} days: ${renewal}` });
  if (key === "open") findings.push({ error: `${keyFile} is open to others`, hint: `chmod 600 ${keyFile}` });
  return findings;
}

function asText({ certFile, description, issuedHere, key }: StoredCertificate, now: number): string {
  if (description.kind === "unreadable") return `${certFile}\n  unreadable\n`;
  const days = Math.floor((description.notAfter - now) / dayMs);
  const rows = [
    description.isCa ? `authority ${description.subject}` : `names     ${description.names.join(" ")}`,
    `valid     ${dateText(description.notBefore)} to ${dateText(description.notAfter)} (${days < 0 ? "expired" : `${days} days left`})`,
    `sha256    ${description.sha256}`,
    `issuer    ${description.issuer}${issuedHere ? "" : " (not the authority of this directory)"}`,
    `key       ${key === "absent" ? "not here" : key}`,
  ];
  return `${certFile}\n${rows.map((row) => `  ${row}\n`).join("")}`;
}

function asJson(
  { certFile, keyFile, description, issuedHere, key }: StoredCertificate,
  findings: readonly Finding[],
): object {
  const files = { cert: certFile, key: key === "absent" ? null : keyFile };
  const problems = findings.flatMap(({ error }) => (error === undefined ? [] : [error]));
  if (description.kind === "unreadable") return { ...files, problems };
  const { subject, issuer, names, notBefore, notAfter, sha256, isCa } = description;
  return {
    ...files,
    authority: isCa,
    subject,
    issuer,
    names,
    not_before: new Date(notBefore).toISOString(),
    not_after: new Date(notAfter).toISOString(),
    sha256,
    issued_here: issuedHere,
    problems,
  };
}

function refuseOverwrite(io: CertsIo, file: string): CertsExit {
  return fail(io, 1, `${file} exists and is never overwritten`, "move it away first, or use another --dir");
}

function fail(io: CertsIo, exit: CertsExit, error: string, hint?: string): CertsExit {
  io.stderr(`sallyport: error: ${error}\n`);
  if (hint !== undefined) io.stderr(`sallyport: hint: ${hint}\n`);
  return exit;
}

function parseDays(text: string | undefined, max: number): number | undefined | "invalid" {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > max) return "invalid";
  return Number(text);
}

function directoryFlag({ directory }: CertsArguments): string {
  return directory === "certs" ? "" : ` --dir ${directory}`;
}

function dateText(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
