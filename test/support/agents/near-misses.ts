/** Traffic that looks much like an agent's and must be denied, each with the reason. */
import { clientHello, helloFor, serverName } from "../hello.ts";
import { type RawClient, connectRaw } from "../raw-http.ts";
import type { AgentName } from "./roster.ts";

export type NearMiss = {
  /** With whose packs, alone and among all others, it is denied so. */
  readonly agent: AgentName;
  /** What would be wrong with letting it pass. */
  readonly because: string;
  readonly asked: Plain | Tunnel;
  readonly reason: string;
  /** The rule that decides; none on `no_rule` and `ip_literal`. */
  readonly rule?: string;
};

type Plain = { readonly url: string; readonly method?: string; readonly fields?: readonly string[] };
type Tunnel = { readonly connect: string; readonly says?: string | Uint8Array };

/** What came back: a status with the reason in its phrase, or, behind the 200 of a CONNECT, a TLS alert or just the end. */
export type Refused = {
  readonly told: string;
  readonly status: number;
  /** Undefined where the connection ended without one. */
  readonly alert: number | undefined;
};

const tls11 = clientHello({ legacyVersion: 0x0302, extensions: [serverName("fe2.update.microsoft.com")] });

export const nearMisses: readonly NearMiss[] = [
  {
    agent: "Windows Update",
    because: "scans are https, not plain HTTP",
    asked: { url: "http://fe3cr.delivery.mp.microsoft.com/ClientWebService/client.asmx" },
    reason: "scheme_mismatch",
    rule: "windows-update/metadata",
  },
  {
    agent: "Windows Update",
    because: "the name inside the tunnel is another one",
    asked: { connect: "fe3cr.delivery.mp.microsoft.com:443", says: helloFor("evil.example.net") },
    reason: "sni_mismatch",
    rule: "windows-update/metadata",
  },
  {
    agent: "Windows Update",
    because: "the client offers TLS 1.1 at most",
    asked: { connect: "fe2.update.microsoft.com:443", says: tls11 },
    reason: "tls_version",
    rule: "windows-update/update-services",
  },
  {
    agent: "Windows Update",
    because: "the name only begins like Microsoft's",
    asked: { connect: "fe2.update.microsoft.com.evil.net:443" },
    reason: "no_rule",
  },
  {
    agent: "Delivery Optimization",
    because: "payload is plain HTTP, not https",
    asked: { connect: "tlu.dl.delivery.mp.microsoft.com:443" },
    reason: "scheme_mismatch",
    rule: "windows-update/payload",
  },
  {
    agent: "Delivery Optimization",
    because: "overlapping ranges multiply what the origin sends",
    asked: { url: "http://tlu.dl.delivery.mp.microsoft.com/x", fields: ["Range: bytes=0-1048575,0-1048575"] },
    reason: "range_invalid",
    rule: "windows-update/payload",
  },
  {
    agent: "BITS",
    because: "a range where Microsoft's Range list has no host",
    asked: { url: "http://www.windowsupdate.com/x.cab", fields: ["Range: bytes=0-71744"] },
    reason: "range_denied",
    rule: "windows-update/windowsupdate",
  },
  {
    agent: "BITS",
    because: "a forged User-Agent and path open nothing",
    asked: {
      url: "http://download.windowsupdate.com.evil.net/msdownload/update/x.cab",
      fields: ["User-Agent: Microsoft BITS/7.8"],
    },
    reason: "no_rule",
  },
  {
    agent: "CryptoAPI",
    because: "of www.microsoft.com only the PKI directories are open",
    asked: { url: "http://www.microsoft.com/en-us/" },
    reason: "path_denied",
    rule: "microsoft-pki/pki-files",
  },
  {
    agent: "CryptoAPI",
    because: "revocation is port 80",
    asked: { connect: "ocsp.digicert.com:443" },
    reason: "scheme_mismatch",
    rule: "digicert/ocsp",
  },
  {
    agent: "Automox",
    because: "another customer's bucket",
    asked: { connect: "automox-policy-files-evil.s3.us-west-2.amazonaws.com:443" },
    reason: "no_rule",
  },
  {
    agent: "Automox",
    because: "agents speak https alone",
    asked: { url: "http://api.automox.com/api/cache" },
    reason: "scheme_mismatch",
    rule: "automox/agent",
  },
  {
    agent: "Action1",
    because: "the agent's port is 22543",
    asked: { connect: "server.action1.com:443" },
    reason: "port_mismatch",
    rule: "action1-na/agent",
  },
  {
    agent: "Action1",
    because: "an address beside the listed ones",
    asked: { connect: "54.210.188.14:22543" },
    reason: "ip_literal",
  },
  {
    agent: "Action1",
    because: "no TLS on the agent's port",
    asked: { connect: "54.210.188.13:22543", says: "SSH-2.0-OpenSSH_9.6\r\n" },
    reason: "not_tls",
    rule: "action1-na/agent",
  },
  {
    agent: "Datto RMM",
    because: "the look-alike with an l, seen in real proxy files",
    asked: { connect: "01cc.centralstage.net:443" },
    reason: "no_rule",
  },
  {
    agent: "Datto RMM",
    because: "a bucket that only looks like Datto's",
    asked: { connect: "evil.centrastage.net.s3.amazonaws.com:443" },
    reason: "no_rule",
  },
  {
    agent: "Splashtop",
    because: "the relay's port is 443",
    asked: { connect: "relay-xx.relay.splashtop.com:22" },
    reason: "port_mismatch",
    rule: "automox-remote-control/relay",
  },
  {
    agent: "Automation Anywhere",
    because: "another tenant's Control Room",
    asked: { connect: "evil.my.automationanywhere.digital:443" },
    reason: "no_rule",
  },
  {
    agent: "Automation Anywhere",
    because: "the cloud has no WebSocket on port 80",
    asked: {
      url: "http://acme.my.automationanywhere.digital/lab/websocket",
      fields: [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      ],
    },
    reason: "scheme_mismatch",
    rule: "automation-anywhere/cloud",
  },
  {
    agent: "Trend Micro",
    because: "glued to Trend's name instead of below it",
    asked: { connect: "evilworkload.us-1.cloudone.trendmicro.com:443" },
    reason: "no_rule",
  },
  {
    agent: "Trend Micro",
    because: "telemetry is https alone",
    asked: { url: "http://telemetry.deepsecurity.trendmicro.com/" },
    reason: "scheme_mismatch",
    rule: "trend-micro-workload-security/telemetry",
  },
];

/** `CONNECT host:443`, `GET http://…`. */
export function inShort({ asked }: NearMiss): string {
  return "connect" in asked ? `CONNECT ${asked.connect}` : `${asked.method ?? "GET"} ${asked.url}`;
}

/** Asks for it, and takes what comes until the proxy ends the connection. */
export async function attempt(proxyPort: number, { asked }: NearMiss): Promise<Refused> {
  const client = await connectRaw(proxyPort);
  try {
    return await ("connect" in asked ? attemptTunnel(client, asked) : attemptPlain(client, asked));
  } finally {
    client.close();
  }
}

async function attemptPlain(client: RawClient, { url, method = "GET", fields = [] }: Plain): Promise<Refused> {
  client.send(`${[`${method} ${url} HTTP/1.1`, `Host: ${new URL(url).host}`, ...fields].join("\r\n")}\r\n\r\n`);
  const { status, reason } = await client.readHead();
  return { told: `${status} ${reason}`, status, alert: undefined };
}

async function attemptTunnel(client: RawClient, { connect, says }: Tunnel): Promise<Refused> {
  client.send(`CONNECT ${connect} HTTP/1.1\r\nHost: ${connect}\r\n\r\n`);
  const { status, reason } = await client.readHead();
  if (status !== 200 || says === undefined) return { told: `${status} ${reason}`, status, alert: undefined };
  client.send(says);
  // A record of seven bytes: type 21, version, length, fatal, description (RFC 8446 section 6).
  const record = await client.readAll();
  const alert = record[0] === 21 ? record[6] : undefined;
  return { told: alert === undefined ? "200, then the end" : `200, then TLS alert ${alert}`, status, alert };
}
