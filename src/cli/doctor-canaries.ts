/** The two requests that tell whether a proxy does its work: one that it has to refuse, and one that it has to let pass. */
import { type Canary, canaryText, deniedHost } from "./doctor-canary.ts";
import { type Answer, type Certificate, type ProxyPlace, askPlain, askTunnel } from "./doctor-probe.ts";
import { type Finding, doubtful, fine, skipped, wrong } from "./doctor-report.ts";

/** What was seen of the world behind the proxy. */
export type Seen = {
  readonly host: string;
  readonly certificate: Certificate | undefined;
  /** Of a Date field. */
  readonly dateMs: number | undefined;
};

/** Asks for a host that nobody has. */
export async function tryDenied(place: ProxyPlace, timeoutMs: number): Promise<Finding> {
  const probe = await askTunnel(place, { host: deniedHost, port: 443 }, false, timeoutMs);
  if (probe.kind === "failed") return brokenOff("denied", probe.code);
  const { answer } = probe;
  const refused = refusalOf(answer);
  if (answer.status === 403 && refused.isOurs)
    return fine(
      "denied",
      `CONNECT ${deniedHost}:443 is refused: ${refused.reason ?? "403, without its reason (denials.explain)"}`,
    );
  if (answer.status === 200)
    return wrong(
      "denied",
      `CONNECT ${deniedHost}:443 was let pass`,
      "this is no Sallyport, or one that everything passes: look what listens there",
    );
  if (refused.isOurs && refused.error !== undefined && answer.status >= 500) {
    if (refused.error === "connection_limit_reached")
      return wrong(
        "denied",
        `the proxy takes no more (${answer.status})`,
        "it is draining, or a limit is reached: sallyport_limit_rejections_total says which",
      );
    // Report mode lets 443 pass, and then there is nobody. A port that no rule names is refused all the same.
    const other = await askTunnel(place, { host: deniedHost, port: 1 }, false, timeoutMs);
    if (other.kind === "done" && other.answer.status === 403)
      return doubtful(
        "denied",
        `CONNECT ${deniedHost}:443 was not refused: the proxy is in report mode, and only records`,
        "sallyport readiness says whether it can be enforced",
      );
  }
  return strange("denied", answer, refused.isOurs);
}

/** `isSure`: whoever chose the requests knows the policy of that very proxy. One that succeeds is enough. */
export async function tryAllowed(
  place: ProxyPlace,
  canaries: readonly Canary[],
  { isSure, timeoutMs }: { readonly isSure: boolean; readonly timeoutMs: number },
  seen: Seen[],
): Promise<Finding> {
  if (canaries.length === 0)
    return skipped(
      "allowed",
      "the policy has no rule that could be tried for this client; --allowed URL names a request",
    );
  const failed: Finding[] = [];
  for (const canary of canaries) {
    const finding = await tryOne(place, canary, isSure, timeoutMs, seen);
    if (finding.status !== "problem") return finding;
    failed.push(finding);
  }
  const [first] = failed;
  if (first === undefined || failed.length === 1) return first ?? skipped("allowed", "nothing was asked");
  return { ...first, said: failed.map(({ said }) => said).join("; ") };
}

async function tryOne(
  place: ProxyPlace,
  canary: Canary,
  isSure: boolean,
  timeoutMs: number,
  seen: Seen[],
): Promise<Finding> {
  const text = canaryText(canary);
  const by = canary.rule === undefined ? "" : ` (${canary.rule})`;
  if (canary.scheme === "http") {
    const probe = await askPlain(place, text, timeoutMs);
    if (probe.kind === "failed") return brokenOff("allowed", probe.code, text);
    const { answer } = probe;
    if (refusalOf(answer).isOurs) return refusedFinding(text, answer, isSure);
    if (answer.status === 407) return strange("allowed", answer, false);
    const date = Date.parse(answer.fields.get("date") ?? "");
    seen.push({ host: canary.host, certificate: undefined, dateMs: Number.isNaN(date) ? undefined : date });
    return fine("allowed", `${text} answers ${answer.status} through the proxy${by}`);
  }
  const probe = await askTunnel(place, canary, true, timeoutMs);
  if (probe.kind === "failed") return brokenOff("allowed", probe.code, text, probe.what);
  const { answer, certificate, problem } = probe;
  if (answer.status !== 200)
    return refusalOf(answer).isOurs ? refusedFinding(text, answer, isSure) : strange("allowed", answer, false);
  seen.push({ host: canary.host, certificate, dateMs: undefined });
  if (problem === "") return fine("allowed", `${text} shakes hands through the proxy${by}`);
  const issuer = certificate === undefined ? "" : ` issued by "${certificate.issuer}"`;
  return doubtful(
    "allowed",
    `${text} shakes hands through the proxy${by}, but with a certificate${issuer} that this machine does not trust (${problem})`,
    "Sallyport opens no TLS: something behind it does, or the clock is wrong, or the authority is your own",
  );
}

function refusedFinding(text: string, answer: Answer, isSure: boolean): Finding {
  const { reason, error, denial } = refusalOf(answer);
  if (answer.status === 407) return strange("allowed", answer, true);
  if (reason !== undefined || answer.status === 403) {
    const named = denial === undefined ? "" : ` (sallyport why ${denial})`;
    return isSure
      ? wrong(
          "allowed",
          `${text} is refused: ${reason ?? "403"}${named}`,
          "the running proxy has another policy than these files, or this client is in another group: restart it, or look with sallyport explain --client",
        )
      : wrong(
          "allowed",
          `${text} is refused: ${reason ?? "403"}${named}`,
          "the policy of that proxy is not known here: say with --allowed what it allows",
        );
  }
  return wrong(
    "allowed",
    `${text} is allowed, but the proxy cannot reach it: ${error ?? answer.status}`,
    ways[error ?? ""] ?? "look at the proxy's log for this host",
  );
}

/** By the words of RFC 9209. */
const ways: Readonly<Record<string, string>> = {
  dns_error:
    "the proxy's DNS does not know the name: mend dns.servers or the machine's resolvers; without internet, this is expected",
  dns_timeout:
    "the proxy's DNS does not answer: mend dns.servers, or the firewall between them; without internet, this is expected",
  connection_refused: "the other side refuses connections from the proxy: look at the firewall behind it",
  connection_timeout:
    "nothing comes back: the firewall behind the proxy drops its connections, or there is no internet",
  destination_ip_unroutable: "the proxy's machine has no route to it: is there internet at all?",
  destination_ip_prohibited:
    "the name resolves to an address that resolves_to does not admit: look at DNS, or at the rule",
  connection_terminated: "the other side, or something on the way, breaks connections off",
  proxy_loop_detected: "the name leads back into this proxy: look at DNS and connect_to",
  connection_limit_reached: "it is draining, or a limit is reached: sallyport_limit_rejections_total says which",
  http_response_timeout: "the other side takes a connection and says nothing",
};

function brokenOff(step: "denied" | "allowed", code: string, text = "", what = "answer"): Finding {
  const about = text === "" ? "the proxy" : text;
  if (what === "TLS handshake")
    return wrong(
      step,
      `${about}: the tunnel opened, and the TLS handshake failed (${code})`,
      "the proxy refused the hello or the answer (its log says why), or something behind it breaks TLS",
    );
  const saw =
    code === "ETIMEDOUT" ? "did not answer in time" : code === "no HTTP" ? "speaks no HTTP" : `broke off (${code})`;
  const todo =
    code === "no HTTP"
      ? "another program listens there, or the listener wants TLS"
      : "look at the proxy's log; --timeout gives it more time";
  return wrong(step, text === "" ? `${about} ${saw}` : `${text}: the proxy ${saw}`, todo);
}

/** Answers that no Sallyport gives, or gives for reasons of its own. */
function strange(step: "denied" | "allowed", answer: Answer, isOurs: boolean): Finding {
  const said = `the answer was ${answer.status} ${answer.reason}`.trim();
  if (answer.status === 407)
    return wrong(
      step,
      said,
      "the listener asks for credentials, which agents that run as machine accounts do not have",
    );
  return isOurs
    ? wrong(step, said, "look at the proxy's log for doctor's requests")
    : wrong(
        step,
        `${said}, and not by a Sallyport`,
        "another proxy or a middlebox answers: is the address right, and does the way to it lead through another proxy?",
      );
}

type SaidRefusal = {
  readonly isOurs: boolean;
  readonly reason: string | undefined;
  readonly error: string | undefined;
  readonly denial: string | undefined;
};

function refusalOf({ fields }: Answer): SaidRefusal {
  const status = fields.get("proxy-status") ?? "";
  const [, error] = /^sallyport;\s*error=([\w-]+)/.exec(status) ?? [];
  return {
    isOurs: error !== undefined || fields.has("x-sallyport-reason"),
    reason: fields.get("x-sallyport-reason"),
    error,
    denial: fields.get("x-sallyport-denial"),
  };
}
