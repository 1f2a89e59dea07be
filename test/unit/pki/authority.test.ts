import { execFile } from "node:child_process";
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Authority, type AuthorityRequest, createAuthority, loadAuthority } from "../../../src/pki/authority.ts";
import { describeCertificate, isIssuedBy } from "../../../src/pki/description.ts";
import { issueLeaf, type Leaf, type LeafRequest } from "../../../src/pki/leaf.ts";
import { buildCertificate } from "../../../src/pki/x509.ts";
import { describeWithTool } from "../../support/tools.ts";

const day = 86_400_000;
const now = Date.UTC(2030, 0, 15, 12, 0, 0, 500);

let directory: string;
let authority: Authority;
let constrained: Authority;
let leafKey: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-pki-"));
  authority = await make({ name: "Ärzte & Söhne", now });
  constrained = await make({
    name: "Constrained",
    now,
    nameConstraints: { permittedDns: ["Example.test"], permittedAddresses: ["10.0.0.0/8", "2001:db8::/32"] },
  });
  leafKey = (await issue(authority, { names: ["key.test"] })).keyPem;
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe("createAuthority", () => {
  test("is a self-signed certificate that may sign leaves and nothing else", () => {
    const certificate = new X509Certificate(authority.certPem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe("CN=Ärzte & Söhne");
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(authority.keyPem))).toBe(true);
  });

  test("lives ten years from five minutes ago", () => {
    const { notBefore, notAfter } = readDates(authority.certPem);
    expect(notBefore).toBe(Date.UTC(2030, 0, 15, 11, 55));
    expect(notAfter + 1000 - notBefore).toBe(3650 * day);
    expect({ notBefore, notAfter }).toEqual({ notBefore: authority.notBefore, notAfter: authority.notAfter });
  });

  test("lives beyond 2050, where the encoding of dates changes", async () => {
    const old = await make({ name: "Old", now: Date.UTC(2045, 0, 1) });
    expect(new Date(readDates(old.certPem).notAfter).getUTCFullYear()).toBe(2054);
  });

  test("has a key of 3072 bits when nothing else is said", async () => {
    const made = await createAuthority({ name: "Default", now });
    if (made.kind === "problem") throw new Error(made.problem);
    expect(createPublicKey(made.authority.keyPem).asymmetricKeyDetails?.modulusLength).toBe(3072);
  });

  test.each([
    ["zeros", 0x00],
    ["ones", 0xff],
  ])("has a positive serial number of 128 bits when the random bytes are all %s", async (_, byte) => {
    const leaf = await issue(authority, { names: ["a.test"], random: (count) => new Uint8Array(count).fill(byte) });
    expect(new X509Certificate(leaf.certPem).serialNumber).toMatch(byte === 0 ? /^40(00){15}$/ : /^7F(FF){15}$/);
  });

  test.each<[string, Partial<AuthorityRequest>, RegExp]>([
    ["an empty name", { name: " " }, /1 to 64/],
    ["a name that is too long", { name: "x".repeat(65) }, /1 to 64/],
    ["a name with a line end", { name: "a\nb" }, /printable/],
    ["a life of no days", { validDays: 0 }, /1 to 7300 days/],
    ["a life of half days", { validDays: 1.5 }, /1 to 7300 days/],
    ["a life of centuries", { validDays: 7301 }, /1 to 7300 days/],
    [
      "a constraint that is no domain",
      { nameConstraints: { permittedDns: ["*.example.test"] } },
      /"\*\.example\.test" is no domain/,
    ],
    [
      "a block with bits beyond its prefix",
      { nameConstraints: { permittedDns: [], permittedAddresses: ["10.0.0.1/8"] } },
      /10\.0\.0\.0\/8/,
    ],
    ["constraints that permit nothing", { nameConstraints: { permittedDns: [] } }, /at least one/],
  ])("refuses %s", async (_, wrong, expected) => {
    const made = await createAuthority({ name: "A", now, keyBits: 2048, ...wrong });
    expect(made).toMatchObject({ kind: "problem", fault: "request", problem: expect.stringMatching(expected) });
  });
});

describe("loadAuthority", () => {
  test("takes back what was made, and signs leaves under the same issuer name", async () => {
    expect(loadAuthority(authority.certPem, authority.keyPem)).toEqual({ kind: "authority", authority });
    const leaf = await issue(authority, { names: ["a.test"] });
    expect(new X509Certificate(leaf.certPem).issuer).toBe("CN=Ärzte & Söhne");
    expect(isIssuedBy(leaf.certPem, authority.certPem)).toBe(true);
  });

  test("reads name constraints back", () => {
    expect(loadAuthority(constrained.certPem, constrained.keyPem)).toEqual({
      kind: "authority",
      authority: constrained,
    });
    expect(constrained.constraints?.permittedDns).toEqual(["example.test"]);
    expect(constrained.constraints?.permittedAddresses.map((block) => block.text)).toEqual([
      "10.0.0.0/8",
      "2001:db8::/32",
    ]);
  });

  test("refuses text that is no certificate", () => {
    expect(loadAuthority("nonsense", authority.keyPem)).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("certificate"),
    });
  });

  test("refuses text that is no key", () => {
    expect(loadAuthority(authority.certPem, "nonsense")).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("key is not readable"),
    });
  });

  test("refuses an encrypted key", () => {
    const keyPem = createPrivateKey(authority.keyPem)
      .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
      .toString();
    expect(loadAuthority(authority.certPem, keyPem)).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("unencrypted"),
    });
  });

  test("refuses the key of another authority", () => {
    expect(loadAuthority(authority.certPem, constrained.keyPem)).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("does not belong"),
    });
  });

  test("refuses a key that is not RSA", () => {
    const keyPem = generateKeyPairSync("ec", { namedCurve: "P-256" })
      .privateKey.export({ type: "pkcs8", format: "pem" })
      .toString();
    expect(loadAuthority(authority.certPem, keyPem)).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("RSA"),
    });
  });

  test("refuses a leaf in the place of an authority", async () => {
    const leaf = await issue(authority, { names: ["a.test"] });
    expect(loadAuthority(leaf.certPem, leaf.keyPem)).toMatchObject({
      kind: "problem",
      problem: expect.stringContaining("may not sign"),
    });
  });
});

describe("issueLeaf", () => {
  test("carries every name once, addresses as addresses, and the first as its common name", async () => {
    const leaf = await issue(authority, {
      names: ["*.Example.test", "example.test", "10.0.0.1", "2001:DB8::1", "EXAMPLE.test."],
    });
    const names = ["*.example.test", "example.test", "10.0.0.1", "2001:db8::1"];
    expect(leaf.names).toEqual(names);
    expect(describeCertificate(leaf.certPem)).toMatchObject({
      kind: "certificate",
      subject: "CN=*.example.test",
      names,
      isCa: false,
    });
    expect(new X509Certificate(leaf.certPem).subjectAltName).toBe(
      "DNS:*.example.test, DNS:example.test, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1",
    );
  });

  test.each([
    ["too long for one", `${"a".repeat(60)}.example.test`],
    ["an address", "10.0.0.1"],
  ])("has no common name when the first name is %s", async (_, name) => {
    const leaf = await issue(authority, { names: [name] });
    expect(describeCertificate(leaf.certPem)).toMatchObject({ subject: "", names: [name] });
  });

  test.each<[string, "server" | "client", string]>([
    ["server", "server", "1.3.6.1.5.5.7.3.1"],
    ["client", "client", "1.3.6.1.5.5.7.3.2"],
  ])("is for a %s and for nothing else", async (_, usage, oid) => {
    const leaf = await issue(authority, { names: ["a.test"], usage });
    // Node's types call this keyUsage; it is the extended key usage.
    expect(new X509Certificate(leaf.certPem).keyUsage).toEqual([oid]);
  });

  test("lives 397 days, and 398 at most", async () => {
    const usual = readDates((await issue(authority, { names: ["a.test"] })).certPem);
    expect(usual.notAfter + 1000 - usual.notBefore).toBe(397 * day);
    const longest = readDates((await issue(authority, { names: ["a.test"], validDays: 398 })).certPem);
    expect(longest.notAfter + 1000 - longest.notBefore).toBe(398 * day);
  });

  test("never outlives its authority, and is never older", async () => {
    const late = await issue(authority, { names: ["a.test"], now: authority.notAfter - day });
    expect(readDates(late.certPem).notAfter).toBe(authority.notAfter);
    expect(late.notAfter).toBe(authority.notAfter);
    const early = await issue(authority, { names: ["a.test"], now: authority.notBefore + 1000 });
    expect(readDates(early.certPem).notBefore).toBe(authority.notBefore);
  });

  test("makes a new key each time, and certifies a given one", async () => {
    const made = await issueLeaf(authority, { names: ["a.test"], usage: "server", now });
    if (made.kind === "problem") throw new Error(made.problem);
    expect(made.leaf.keyPem).not.toBe(leafKey);
    const again = await issue(authority, { names: ["a.test"], keyPem: leafKey });
    expect(new X509Certificate(again.certPem).checkPrivateKey(createPrivateKey(leafKey))).toBe(true);
  });

  test.each<[string, Partial<LeafRequest>, "request" | "authority", RegExp]>([
    ["no names", { names: [] }, "request", /at least one name/],
    ["a name that is none", { names: ["a b"] }, "request", /"a b" is no name/],
    ["a wildcard for a client", { names: ["*.test"], usage: "client" }, "request", /no wildcard/],
    ["more than 398 days", { validDays: 399 }, "request", /1 to 398 days/],
    ["an expired authority", { now: Date.UTC(2041, 0, 1) }, "authority", /expired on 2040-01-13/],
    ["an authority of the future", { now: Date.UTC(2029, 0, 1) }, "authority", /not valid before 2030-01-15/],
  ])("refuses %s", async (_, wrong, fault, expected) => {
    const made = await issueLeaf(authority, { names: ["a.test"], usage: "server", now, keyPem: leafKey, ...wrong });
    expect(made).toMatchObject({ kind: "problem", fault, problem: expect.stringMatching(expected) });
  });

  test.each([
    ["a name below the permitted domain", "a.example.test", true],
    ["the permitted domain", "example.test", true],
    ["another domain", "example.org", false],
    ["an address of the permitted block", "10.1.2.3", true],
    ["another address", "192.0.2.1", false],
  ])("asks the authority's constraints about %s", async (_, name, expected) => {
    const made = await issueLeaf(constrained, { names: [name], usage: "server", now, keyPem: leafKey });
    expect(made.kind).toBe(expected ? "leaf" : "problem");
  });
});

describe("describeCertificate", () => {
  test("reads the first certificate of a chain", async () => {
    const leaf = await issue(authority, { names: ["a.test", "10.0.0.1"] });
    expect(describeCertificate(leaf.chainPem)).toEqual({
      kind: "certificate",
      subject: "CN=a.test",
      issuer: "CN=Ärzte & Söhne",
      names: ["a.test", "10.0.0.1"],
      notBefore: readDates(leaf.certPem).notBefore,
      notAfter: leaf.notAfter,
      sha256: new X509Certificate(leaf.certPem).fingerprint256,
      isCa: false,
    });
  });

  test("calls anything else unreadable", () => {
    expect(describeCertificate("nonsense")).toEqual({ kind: "unreadable" });
    expect(describeCertificate(authority.keyPem)).toEqual({ kind: "unreadable" });
  });

  test("tells an authority's leaf from another's of the same name", async () => {
    const twin = await make({ name: "Ärzte & Söhne", now });
    const leaf = await issue(twin, { names: ["a.test"] });
    expect(isIssuedBy(leaf.certPem, twin.certPem)).toBe(true);
    expect(isIssuedBy(leaf.certPem, authority.certPem)).toBe(false);
  });
});

// OpenSSL is the judge that shares no code with forge; `-x509_strict` asks for all that RFC 5280 asks.
describeWithTool(["openssl"], "openssl verify", () => {
  test.each<[string, Partial<LeafRequest>, string]>([
    [
      "a server leaf for its host name",
      { names: ["*.example.test"] },
      "-purpose sslserver -verify_hostname a.example.test",
    ],
    ["a server leaf for its IPv4 address", { names: ["10.0.0.1"] }, "-purpose sslserver -verify_ip 10.0.0.1"],
    ["a server leaf for its IPv6 address", { names: ["2001:db8::1"] }, "-purpose sslserver -verify_ip 2001:db8::1"],
    ["a leaf without common name", { names: [`${"a".repeat(60)}.example.test`] }, "-purpose sslserver"],
    ["a client leaf", { names: ["agent.example.test"], usage: "client" }, "-purpose sslclient"],
  ])("accepts %s", async (_, request, flags) => {
    for (const issuer of [authority, constrained]) {
      const leaf = await issue(issuer, { names: ["a.example.test"], ...request });
      expect(await verify(issuer, leaf.certPem, flags)).toBe("OK");
    }
  });

  test.each<[string, Partial<LeafRequest>, string, RegExp]>([
    ["a server leaf as a client", {}, "-purpose sslclient", /unsuitable certificate purpose/],
    ["a client leaf as a server", { usage: "client" }, "-purpose sslserver", /unsuitable certificate purpose/],
    ["a leaf for another host", {}, "-verify_hostname b.test", /hostname mismatch/],
    [
      "a leaf after its end",
      { validDays: 1 },
      `-attime ${Math.floor(now / 1000) + 2 * 86_400}`,
      /certificate has expired/,
    ],
  ])("rejects %s", async (_, request, flags, expected) => {
    const leaf = await issue(authority, { names: ["a.example.test"], ...request });
    expect(await verify(authority, leaf.certPem, flags)).toMatch(expected);
  });

  test("rejects a leaf of another authority", async () => {
    const leaf = await issue(constrained, { names: ["a.example.test"] });
    expect(await verify(authority, leaf.certPem, "")).toMatch(/unable to get local issuer/);
  });

  test.each([
    ["another domain", "example.org", /permitted subtree violation/],
    ["a domain that only ends alike", "evilexample.test", /permitted subtree violation/],
  ])(
    "rejects a leaf for %s that a constrained authority signed in spite of its constraints",
    async (_, name, expected) => {
      const unbound: Authority = { ...constrained, constraints: undefined };
      const leaf = await issue(unbound, { names: [name] });
      expect(await verify(constrained, leaf.certPem, "")).toMatch(expected);
    },
  );

  test.each<[string, NonNullable<AuthorityRequest["nameConstraints"]>, string]>([
    ["an address under an authority for domains", { permittedDns: ["example.test"] }, "10.0.0.1"],
    ["an IPv6 address under an authority for domains", { permittedDns: ["example.test"] }, "::1"],
    [
      "a name under an authority for addresses",
      { permittedDns: [], permittedAddresses: ["10.0.0.0/8"] },
      "example.test",
    ],
  ])("rejects %s", async (_, nameConstraints, name) => {
    const issuer = await make({ name: "One kind", now, nameConstraints });
    const leaf = await issue({ ...issuer, constraints: undefined }, { names: [name] });
    expect(await verify(issuer, leaf.certPem, "")).toMatch(/subtree violation/);
  });

  test("rejects a leaf of an authority below the authority: the path ends after one step", async () => {
    const below = buildCertificate(
      {
        commonName: "Below",
        serial: `40${"00".repeat(15)}`,
        notBefore: new Date(now),
        notAfter: new Date(now + day),
        publicKeyPem: createPublicKey(leafKey).export({ type: "spki", format: "pem" }).toString(),
        role: { kind: "authority", constraints: undefined },
      },
      authority,
    );
    const leaf = await issue(
      { certPem: below, keyPem: leafKey, notBefore: now - day, notAfter: now + day, constraints: undefined },
      { names: ["a.test"] },
    );
    expect(await verify(authority, leaf.certPem, `-untrusted ${await save("below.pem", below)}`)).toMatch(
      /path length constraint exceeded/,
    );
  });
});

async function make(request: AuthorityRequest): Promise<Authority> {
  const made = await createAuthority({ keyBits: 2048, ...request });
  if (made.kind === "problem") throw new Error(made.problem);
  return made.authority;
}

async function issue(issuer: Authority, request: Partial<LeafRequest>): Promise<Leaf> {
  const keyPem = leafKey === undefined ? {} : { keyPem: leafKey };
  const made = await issueLeaf(issuer, { names: [], usage: "server", now, ...keyPem, ...request });
  if (made.kind === "problem") throw new Error(made.problem);
  return made.leaf;
}

function readDates(pem: string) {
  const certificate = new X509Certificate(pem);
  return { notBefore: Date.parse(certificate.validFrom), notAfter: Date.parse(certificate.validTo) };
}

async function save(name: string, pem: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, pem);
  return file;
}

/** "OK", or what openssl has to object. The clock is the tests' own. */
async function verify(issuer: Authority, leafPem: string, flags: string): Promise<string> {
  const ca = await save("ca.pem", issuer.certPem);
  const leaf = await save("leaf.pem", leafPem);
  const time = flags.includes("-attime") ? [] : ["-attime", String(Math.floor(now / 1000))];
  const words = flags.split(" ").filter((word) => word !== "");
  const args = ["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", ca, ...time, ...words, leaf];
  try {
    await promisify(execFile)("openssl", args);
    return "OK";
  } catch (cause) {
    return String((cause as { stderr?: string }).stderr);
  }
}
