import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type CertsArguments, runCerts } from "../../../src/cli/certs.ts";
import { type Authority, createAuthority } from "../../../src/pki/authority.ts";
import { readAuthority, writeAuthority } from "../../../src/pki/store.ts";

const day = 86_400_000;
const now = Date.UTC(2030, 0, 15);

let root: string;
let directory: string;
let authority: Authority;

beforeAll(async () => {
  authority = await make({});
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "sallyport-certs-"));
  directory = join(root, "certs");
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe("certs init", () => {
  test("writes an authority into a new directory that only its owner may enter", async () => {
    const { exit, stdout, stderr } = await run({
      command: "init",
      name: "Site",
      days: "100",
      permit: ["example.test", "10.0.0.0/8", "::1"],
    });
    expect(exit).toBe(0);
    expect(stdout).toBe(`${directory}/ca.pem\n${directory}/ca.key\nvalid until 2030-04-24\n`);
    expect(stderr.split("\n").filter((line) => !line.startsWith("sallyport: hint: "))).toEqual([""]);
    expect(await modeOf(directory)).toBe(0o700);
    expect(await modeOf(`${directory}/ca.key`)).toBe(0o600);
    const reading = await readAuthority(directory);
    if (reading.kind !== "authority") throw new Error(reading.kind);
    expect(reading.authority.constraints?.permittedDns).toEqual(["example.test"]);
    expect(reading.authority.constraints?.permittedAddresses.map((block) => block.text)).toEqual([
      "10.0.0.0/8",
      "::1/128",
    ]);
  });

  test("answers in JSON", async () => {
    const { stdout } = await run({ command: "init", permit: [], json: true });
    expect(JSON.parse(stdout)).toEqual({
      cert: `${directory}/ca.pem`,
      key: `${directory}/ca.key`,
      names: [],
      not_after: "2040-01-12T23:54:59.000Z",
    });
  });

  test.each([["ca.pem"], ["ca.key"]])("never overwrites %s, and leaves nothing else behind", async (file) => {
    await mkdir(directory);
    await writeFile(join(directory, file), "mine");
    const { exit, stdout, stderr } = await run({ command: "init", permit: [] });
    expect({ exit, stdout }).toEqual({ exit: 1, stdout: "" });
    expect(stderr).toMatch(/^sallyport: error: .*exists and is never overwritten\nsallyport: hint: .*--dir\n$/);
    expect(await readdir(directory)).toEqual([file]);
    expect(await readFile(join(directory, file), "utf8")).toBe("mine");
  });

  test.each<[string, Partial<CertsArguments>, string]>([
    ["days that are no number", { days: "ten" }, "--days ten is not 1 to 7300"],
    ["days below one", { days: "0" }, "--days 0 is not 1 to 7300"],
    ["days in another spelling", { days: "1e2" }, "--days 1e2 is not 1 to 7300"],
    ["too many days", { days: "7301" }, "--days 7301 is not 1 to 7300"],
    ["a wildcard to permit", { permit: ["*.example.test"] }, '"*.example.test" is no domain'],
    ["a block to permit with bits beyond its prefix", { permit: ["10.0.0.1/8"] }, "write 10.0.0.0/8"],
    ["an empty name", { name: "" }, "1 to 64"],
  ])("calls %s a usage error", async (_, wrong, expected) => {
    const { exit, stderr } = await run({ command: "init", permit: [], ...wrong } as CertsArguments);
    expect(exit).toBe(2);
    expect(stderr).toContain(expected);
    expect(await readdir(root)).toEqual([]);
  });

  test("says so when the directory cannot be made", async () => {
    await writeFile(directory, "a file");
    const { exit, stderr } = await run({ command: "init", permit: [] });
    expect(exit).toBe(1);
    expect(stderr).toMatch(/^sallyport: error: cannot write to .*certs \(E[A-Z]+\)\n$/);
  });
});

describe("the store", () => {
  test("takes its key away again when the certificate's place is taken", async () => {
    await mkdir(directory);
    await symlink("nowhere", join(directory, "ca.pem"));
    expect(await writeAuthority(directory, authority)).toEqual({ kind: "exists", file: join(directory, "ca.pem") });
    expect(await readdir(directory)).toEqual(["ca.pem"]);
  });

  test("does not follow a symbolic link that lies where the key goes", async () => {
    await mkdir(directory);
    await symlink(join(root, "elsewhere"), join(directory, "ca.key"));
    expect(await writeAuthority(directory, authority)).toEqual({ kind: "exists", file: join(directory, "ca.key") });
    expect(await readdir(root)).toEqual(["certs"]);
  });
});

describe("certs leaf", () => {
  beforeEach(() => writeAuthority(directory, authority));

  test("writes the chain and the key of a server, ready for a TLS listener", async () => {
    const { exit, stdout, stderr } = await run({
      command: "leaf",
      names: ["Proxy", "proxy.example.test", "10.0.0.1"],
      client: false,
    });
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: "" });
    expect(stdout).toBe(`${directory}/proxy.pem\n${directory}/proxy.key\nvalid until 2031-02-15\n`);
    expect(await modeOf(`${directory}/proxy.key`)).toBe(0o600);
    const chain = await readFile(`${directory}/proxy.pem`, "utf8");
    expect(chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(chain.endsWith(authority.certPem)).toBe(true);
    const key = await readFile(`${directory}/proxy.key`, "utf8");
    expect(() => createSecureContext({ cert: chain, key })).not.toThrow();
  });

  test("says what a certificate's wildcard does not cover, and writes it under a name that files may have", async () => {
    const { exit, stdout, stderr } = await run({
      command: "leaf",
      names: ["*.example.test"],
      client: false,
      json: true,
      days: "30",
    });
    expect(exit).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      cert: `${directory}/_wildcard.example.test.pem`,
      key: `${directory}/_wildcard.example.test.key`,
      names: ["*.example.test"],
      not_after: "2030-02-13T23:54:59.000Z",
    });
    expect(stderr).toBe(
      "sallyport: hint: in a certificate *.example.test covers one label only: name example.test too if it is to be covered\n",
    );
  });

  test("writes an IPv6 address under a name that files may have", async () => {
    await run({ command: "leaf", names: ["2001:db8::1"], client: false });
    expect(await readdir(directory)).toContain("2001_db8__1.pem");
  });

  test("never overwrites a leaf", async () => {
    await writeFile(join(directory, "agent.test.pem"), "mine");
    const { exit, stderr } = await run({ command: "leaf", names: ["agent.test"], client: true });
    expect(exit).toBe(1);
    expect(stderr).toContain("agent.test.pem exists and is never overwritten");
    expect((await readdir(directory)).toSorted()).toEqual(["agent.test.pem", "ca.key", "ca.pem"]);
  });

  test.each<[string, readonly string[], string]>([
    ["a path", ["../evil"], '"../evil" is no name for a certificate'],
    ["no name", [], "a leaf needs at least one name"],
    ["the authority's own file name", ["CA"], "the file name ca is the authority's"],
  ])("calls %s a usage error", async (_, names, expected) => {
    const { exit, stderr } = await run({ command: "leaf", names, client: false });
    expect(exit).toBe(2);
    expect(stderr).toContain(expected);
  });

  test("calls too many days a usage error", async () => {
    expect(await run({ command: "leaf", names: ["a.test"], client: false, days: "399" })).toMatchObject({ exit: 2 });
  });

  test("calls an authority that cannot be read an invalid file", async () => {
    await writeFile(join(directory, "ca.pem"), "nonsense");
    const { exit, stderr } = await run({ command: "leaf", names: ["a.test"], client: false });
    expect(exit).toBe(3);
    expect(stderr).toContain("ca.pem: the authority's certificate is not readable PEM");
  });

  test("points to init where there is no authority", async () => {
    await rm(directory, { recursive: true });
    const { exit, stderr } = await run({ command: "leaf", names: ["a.test"], client: false });
    expect(exit).toBe(1);
    expect(stderr).toContain(`sallyport: hint: run sallyport certs init --dir ${directory} first`);
  });

  test("signs nothing with an expired authority", async () => {
    const { exit, stderr } = await run({ command: "leaf", names: ["a.test"], client: false }, Date.UTC(2041, 0, 1));
    expect(exit).toBe(1);
    expect(stderr).toContain("expired on 2040-01-12");
  });
});

describe("certs show", () => {
  beforeEach(async () => {
    await writeAuthority(directory, authority);
    await run({ command: "leaf", names: ["a.test"], client: false, days: "60" });
  });

  test("lists the authority first, with dates, fingerprints and keys", async () => {
    const { exit, stdout, stderr } = await run({ command: "show" });
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: "" });
    expect(stdout.replaceAll(/([0-9A-F]{2}:){31}[0-9A-F]{2}/g, "FINGERPRINT")).toBe(
      [
        `${directory}/ca.pem`,
        "  authority CN=Test",
        "  valid     2030-01-14 to 2040-01-12 (3649 days left)",
        "  sha256    FINGERPRINT",
        "  issuer    CN=Test",
        "  key       private",
        `${directory}/a.test.pem`,
        "  names     a.test",
        "  valid     2030-01-14 to 2030-03-15 (59 days left)",
        "  sha256    FINGERPRINT",
        "  issuer    CN=Test",
        "  key       private",
        "",
      ].join("\n"),
    );
  });

  test("answers in JSON, without any key", async () => {
    await rm(join(directory, "a.test.key"));
    const { stdout } = await run({ command: "show", json: true });
    expect(JSON.parse(stdout)).toMatchObject({
      directory,
      certificates: [
        { cert: `${directory}/ca.pem`, key: `${directory}/ca.key`, authority: true, issued_here: true, problems: [] },
        {
          cert: `${directory}/a.test.pem`,
          key: null,
          authority: false,
          names: ["a.test"],
          issued_here: true,
          problems: [],
        },
      ],
    });
    expect(stdout).not.toContain("PRIVATE");
  });

  test("hints at a leaf that expires soon, and fails for one that has", async () => {
    const soon = await run({ command: "show" }, now + 40 * day);
    expect(soon.exit).toBe(0);
    expect(soon.stderr).toMatch(/^sallyport: hint: .*a\.test\.pem expires in 19 days: .*\n$/);
    const late = await run({ command: "show" }, now + 61 * day);
    expect(late.exit).toBe(1);
    expect(late.stderr).toMatch(/^sallyport: error: .*a\.test\.pem expired on 2030-03-15\nsallyport: hint: .*\n$/);
    expect(late.stdout).toContain("(expired)");
  });

  test.skipIf(process.platform === "win32")("fails for a key that others may read", async () => {
    await chmod(join(directory, "a.test.key"), 0o640);
    const { exit, stderr } = await run({ command: "show" });
    expect(exit).toBe(1);
    expect(stderr).toMatch(/a\.test\.key is open to others\nsallyport: hint: chmod 600 .*a\.test\.key\n$/);
  });

  test("says which leaf another authority signed", async () => {
    const other = await make({ name: "Other" });
    await rm(join(directory, "ca.pem"));
    await rm(join(directory, "ca.key"));
    await writeAuthority(directory, other);
    const { stdout } = await run({ command: "show" });
    expect(stdout).toContain("CN=Test (not the authority of this directory)");
  });

  test("fails for a file that is no certificate, and shows the others", async () => {
    await writeFile(join(directory, "broken.pem"), "nonsense");
    const { exit, stdout, stderr } = await run({ command: "show" });
    expect(exit).toBe(1);
    expect(stdout).toContain("a.test.pem");
    expect(stderr).toContain("broken.pem: no readable certificate");
  });

  test("points to init where there is nothing", async () => {
    await rm(directory, { recursive: true });
    const { exit, stderr } = await run({ command: "show" });
    expect(exit).toBe(1);
    expect(stderr).toContain("holds no certificates");
  });
});

type Loose<T> = T extends unknown ? Omit<T, "directory" | "json"> & { readonly json?: boolean } : never;

async function run(args: Loose<CertsArguments>, at = now) {
  let stdout = "";
  let stderr = "";
  const exit = await runCerts(
    { directory, json: false, ...args },
    {
      stdout: (text) => (stdout += text),
      stderr: (text) => (stderr += text),
      now: () => at,
    },
  );
  return { exit, stdout, stderr };
}

async function make({ name = "Test" }: { name?: string }): Promise<Authority> {
  const made = await createAuthority({ name, now, keyBits: 2048 });
  if (made.kind === "problem") throw new Error(made.problem);
  return made.authority;
}

async function modeOf(file: string): Promise<number> {
  return (await stat(file)).mode & 0o777;
}
