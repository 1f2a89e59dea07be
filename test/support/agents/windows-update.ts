/**
 * Windows Update asking what there is: https on port 443 by CONNECT, with certificates pinned to its own issuers ("TLS
 * proxies pass these connections without interception"; windows-update-security.md), so an intercepting proxy shows as
 * 0x80072F8F. SOAP to `/ClientWebService/client.asmx`, User-Agent `Windows-Update-Agent/… Client-Protocol/2.50`. WinHTTP
 * may say CONNECT in HTTP/1.0 (recalled). No credentials: it maps a 407 to 0x8024401B.
 */
import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { type Step, type Surroundings, openTunnel, secure, stepInside } from "./proxied.ts";

const agent = ["User-Agent", "Windows-Update-Agent/10.0.10011.16384 Client-Protocol/2.50"] as const;
export const soap =
  '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><GetConfig/></s:Body></s:Envelope>';

export async function runWindowsUpdate(around: Surroundings): Promise<readonly Step[]> {
  const metadata = await openPinned(around, "fe3cr.delivery.mp.microsoft.com", "1.1");
  const config = await stepInside(metadata, "fe3cr.delivery.mp.microsoft.com", "/ClientWebService/client.asmx", {
    method: "POST",
    fields: [agent, ["Content-Type", "application/soap+xml; charset=utf-8"], ["Content-Length", String(soap.length)]],
    body: soap,
  });
  const locator = await openPinned(around, "slscr.update.microsoft.com", "1.0");
  const services = await stepInside(
    locator,
    "slscr.update.microsoft.com",
    "/SLS/%7B522D76A4-93E1-47F8-B8CE-07C937AD1A1E%7D/x64",
    {
      method: "GET",
      fields: [agent],
    },
  );
  return [config, services];
}

async function openPinned(around: Surroundings, host: string, version: "1.0" | "1.1"): Promise<TLSSocket> {
  const tunnel = await openTunnel(around, `${host}:443`, {
    version,
    fields: [agent, ["Proxy-Connection", "Keep-Alive"]],
  });
  const socket = await secure(around, tunnel, host, { minVersion: "TLSv1.2" });
  const issuer = socket.getPeerCertificate(true).issuerCertificate.fingerprint256;
  if (issuer !== new X509Certificate(around.ca).fingerprint256)
    throw new Error(`0x80072F8F: ${host} has another issuer`);
  return socket;
}
