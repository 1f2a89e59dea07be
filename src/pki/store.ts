/** A directory of certificates: `ca.pem` and `ca.key`, and for each leaf `NAME.pem` (leaf and authority) and `NAME.key`. */
import { type FileHandle, lstat, mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises";
import { platform } from "node:os";
import { join } from "node:path";
import { type Authority, loadAuthority } from "./authority.ts";
import { type CertificateDescription, describeCertificate, isIssuedBy } from "./description.ts";
import type { Leaf } from "./leaf.ts";

/** The two files of one certificate. */
export type CertificateFiles = { readonly certFile: string; readonly keyFile: string };

/** What became of a write. Files are made, never replaced: `exists` names the first that stands in the way. */
export type StoreWriting =
  | ({ readonly kind: "written" } & CertificateFiles)
  | { readonly kind: "exists"; readonly file: string }
  | { readonly kind: "unwritable"; readonly problem: string };

/** What became of reading the authority. */
export type AuthorityReading =
  | { readonly kind: "authority"; readonly authority: Authority }
  | { readonly kind: "missing"; readonly file: string }
  | { readonly kind: "invalid"; readonly file: string; readonly problem: string };

/** One `*.pem` of a directory. */
export type StoredCertificate = CertificateFiles & {
  readonly description: CertificateDescription | { readonly kind: "unreadable" };
  /** Signed by the directory's authority; true for the authority itself when it is self-signed. */
  readonly issuedHere: boolean;
  /** `open` when the file's permission bits let others than its owner at it; Windows has no such bits. */
  readonly key: "absent" | "private" | "open";
};

/** File name of the authority, without suffix: no leaf may be called so. */
export const authorityBaseName = "ca";

const directoryMode = 0o700;
const keyMode = 0o600;
const certMode = 0o644;
const othersMode = 0o077;

/** The files of an authority or a leaf. A wildcard's star and the colons of an address are no characters for a file name. */
export function certificateFiles(directory: string, name: string): CertificateFiles {
  const base = name.replace(/^\*\./, "_wildcard.").replaceAll(":", "_");
  return { certFile: join(directory, `${base}.pem`), keyFile: join(directory, `${base}.key`) };
}

/** The first file of the two that is there already: ask before a key is made, the write asks again. */
export async function findExisting(files: CertificateFiles): Promise<string | undefined> {
  for (const file of [files.keyFile, files.certFile]) {
    if (await isThere(file)) return file;
  }
  return undefined;
}

/** Writes `ca.pem` and `ca.key`, and makes the directory (0700) when it is missing. */
export function writeAuthority(directory: string, authority: Authority): Promise<StoreWriting> {
  return writePair(directory, certificateFiles(directory, authorityBaseName), authority.certPem, authority.keyPem);
}

/** Writes a leaf under the file name of its first name. */
export function writeLeaf(directory: string, leaf: Leaf): Promise<StoreWriting> {
  const [first = ""] = leaf.names;
  return writePair(directory, certificateFiles(directory, first), leaf.chainPem, leaf.keyPem);
}

/** Reads the directory's authority. */
export async function readAuthority(directory: string): Promise<AuthorityReading> {
  const { certFile, keyFile } = certificateFiles(directory, authorityBaseName);
  const texts: string[] = [];
  for (const file of [certFile, keyFile]) {
    try {
      texts.push(await readFile(file, "utf8"));
    } catch (cause) {
      const code = codeOf(cause);
      return code === "ENOENT"
        ? { kind: "missing", file }
        : { kind: "invalid", file, problem: `cannot be read (${code})` };
    }
  }
  const [certPem = "", keyPem = ""] = texts;
  const loaded = loadAuthority(certPem, keyPem);
  return loaded.kind === "authority" ? loaded : { kind: "invalid", file: certFile, problem: loaded.problem };
}

/** Lists the directory's certificates by file name, the authority first; undefined without such a directory. */
export async function listCertificates(directory: string): Promise<readonly StoredCertificate[] | undefined> {
  let entries: string[];
  try {
    entries = await readdir(directory);
  } catch {
    return undefined;
  }
  const names = entries.flatMap((entry) => (entry.endsWith(".pem") ? [entry.slice(0, -".pem".length)] : []));
  const rank = (name: string) => (name === authorityBaseName ? 0 : 1);
  names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const authorityPem = await readText(certificateFiles(directory, authorityBaseName).certFile);
  const certificates: StoredCertificate[] = [];
  for (const name of names) {
    const files = { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}.key`) };
    const pem = await readText(files.certFile);
    certificates.push({
      ...files,
      description: describeCertificate(pem),
      issuedHere: isIssuedBy(pem, authorityPem),
      key: await keyState(files.keyFile),
    });
  }
  return certificates;
}

/** The key first: a key without a certificate is seen at once, a certificate without its key only when it is used. */
async function writePair(
  directory: string,
  files: CertificateFiles,
  certPem: string,
  keyPem: string,
): Promise<StoreWriting> {
  try {
    await mkdir(directory, { recursive: true, mode: directoryMode });
    if (!(await writeNew(files.keyFile, keyPem, keyMode))) return { kind: "exists", file: files.keyFile };
    const complete = await writeNew(files.certFile, certPem, certMode).catch(async (cause: unknown) => {
      await rm(files.keyFile, { force: true });
      throw cause;
    });
    if (complete) return { kind: "written", ...files };
    // Half a pair, and the half that this call made, would stand in the way of the next try.
    await rm(files.keyFile, { force: true });
    return { kind: "exists", file: files.certFile };
  } catch (cause) {
    return { kind: "unwritable", problem: `cannot write to ${directory} (${codeOf(cause)})` };
  }
}

/**
 * False when something is there already. `wx` fails on a symbolic link too, so nothing is followed and nothing
 * replaced; a file that could not be filled is taken away again.
 */
async function writeNew(file: string, text: string, mode: number): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(file, "wx", mode);
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw cause;
  }
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (cause) {
    await rm(file, { force: true });
    throw cause;
  } finally {
    await handle.close();
  }
  return true;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return "";
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch {
    return false;
  }
}

async function keyState(file: string): Promise<StoredCertificate["key"]> {
  try {
    const { mode } = await stat(file);
    return platform() !== "win32" && (mode & othersMode) !== 0 ? "open" : "private";
  } catch {
    return "absent";
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
}
