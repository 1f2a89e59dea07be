import { X509Certificate } from "node:crypto";
import { generateKeyPairSync } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { type TlsTexts, readTls } from "../../../src/config/read-tls.ts";
import { testAuthority, testLeaf } from "../../support/tls-origin.ts";

let good: TlsTexts;
let other: string;
const dayMs = 24 * 60 * 60 * 1000;

beforeAll(async () => {
  const authority = await testAuthority();
  good = { ...(await testLeaf(authority, ["proxy.example.com"])), clientCa: authority.certPem };
  other = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  }).privateKey;
});

/** All that is said, and whether there is something to listen with. */
function told(change: Partial<TlsTexts>, nowMs = Date.now()): string[] {
  const { tls, problems } = readTls({ ...good, ...change }, nowMs);
  const lines = problems.map(({ key, message, severity }) => `${severity} ${key} ${message}`);
  return [tls === undefined ? "refused" : "usable", ...lines];
}

test("certificate, key and authority that fit are taken as they are", () => {
  expect(told({})).toEqual(["usable"]);
  expect(told({ clientCa: undefined })).toEqual(["usable"]);
});

describe("what does not fit is told, and no key with it", () => {
  const cases: Readonly<Record<string, () => readonly [change: Partial<TlsTexts>, expected: readonly RegExp[]]>> = {
    "the key of another certificate": () => [
      { key: other },
      [/^error key does not belong to the certificate of cert$/],
    ],
    "no certificate": () => [{ cert: "" }, [/^error cert holds no certificate/]],
    "a certificate that is cut": () => [{ cert: good.cert.replace(/\n[^\n]+\n/, "\n") }, [/^error cert holds no cert/]],
    "no key": () => [{ key: good.cert }, [/^error key holds no key in PEM$/]],
    "a key with a passphrase": () => [
      { key: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n" },
      [/^error key holds an encrypted key: take the passphrase off$/],
    ],
    "an authority that is none": () => [
      { clientCa: good.cert.split(/(?<=-----END CERTIFICATE-----\n)/)[0]! },
      [/no authority's/],
    ],
    "an authority that cannot be read": () => [{ clientCa: "x" }, [/^error client_ca holds no certificate/]],
  };
  test.each(Object.entries(cases))("%s", (_, make) => {
    const [change, expected] = make();
    const [verdict, ...lines] = told(change);
    expect(verdict).toBe("refused");
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)));
    expect(lines.join()).not.toContain("BEGIN");
  });
});

test("what has expired, or is not valid yet, is a warning: who restarts shall not be left without a proxy", () => {
  const late = told({ clientCa: undefined }, Date.now() + 20 * 365 * dayMs);
  expect(late[0]).toBe("usable");
  expect(late[1]).toMatch(/^warning cert has expired: it was valid until /);
  const endsAt = Date.parse(new X509Certificate(good.cert).validTo);
  expect(told({ clientCa: undefined }, endsAt - 10.5 * dayMs)[1]).toMatch(/^warning cert expires in 10 days: /);
  expect(told({ clientCa: undefined }, endsAt - 31 * dayMs)).toEqual(["usable"]);
  expect(told({ clientCa: undefined }, Date.now() - 30 * dayMs)[1]).toMatch(/^warning cert is not valid before /);
});
