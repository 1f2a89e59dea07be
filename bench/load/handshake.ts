/** The bytes of a real TLS 1.3 handshake, said again in every tunnel: what a client says first, and the server's answer. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { captureClientHello, captureServerFlight } from "../../test/support/captured-hello.ts";
import { requireTool } from "../../test/support/tools.ts";

export type Handshake = {
  readonly hello: Uint8Array;
  /** For a host that no rule allows. */
  readonly helloForDenied: Uint8Array;
  readonly answer: Uint8Array;
};

export type Certificate = { readonly cert: string; readonly key: string };

/** Writes a self-signed certificate of a day; Squid wants one too, though it never shows it. */
export function createCertificate(directory: string, host: string): Certificate {
  const openssl = requireTool("openssl");
  if (openssl === undefined)
    throw new Error("openssl is not installed, and there is no handshake without a certificate");
  const cert = join(directory, "cert.pem");
  const key = join(directory, "key.pem");
  const wanted = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const names = ["-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`];
  execFileSync(openssl, ["req", "-x509", ...wanted, ...names, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, key };
}

/** Captured from Node's own TLS stack. */
export async function captureHandshake(certificate: Certificate, host: string, deniedHost: string): Promise<Handshake> {
  const server = { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) };
  const client = { servername: host, rejectUnauthorized: false, ALPNProtocols: ["h2", "http/1.1"] };
  return {
    hello: await captureClientHello(client),
    helloForDenied: await captureClientHello({ ...client, servername: deniedHost }),
    answer: await captureServerFlight(client, server),
  };
}
