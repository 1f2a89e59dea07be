/** Refusals as interface.md fixes them: status, error word, fields, body. */
import { describe, expect, test } from "vitest";
import { reasons } from "../../../src/policy/verdict.ts";
import {
  type ExplainLevel,
  type Failure,
  type Malformation,
  type Refusal,
  failureWords,
  refusalBytes,
  refuseDenial,
  refuseFailure,
  refuseMalformed,
  renderRefusal,
  rowOfReason,
} from "../../../src/wire/refusal.ts";

const lines = [
  "Denied: CONNECT tlu.dl.delivery.mp.microsoft.com:443 (client 10.20.1.4).",
  "Rule windows-update/payload covers this host, but expects http on port 80.",
  "sallyport why 7F3KQ-2MX9A",
];
const denial = refuseDenial("scheme_mismatch", "7F3KQ-2MX9A", lines);
const failure = refuseFailure("dns_timeout", ["No answer from DNS."]);

function fieldsOf(refusal: Refusal, accept?: string, explain: ExplainLevel = "full"): Record<string, string> {
  const { fields } = renderRefusal(refusal, accept, explain);
  const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1] ?? ""] as const] : []));
  expect(new Set(pairs.map(([name]) => name)).size).toBe(pairs.length);
  return Object.fromEntries(pairs);
}

describe("from cause to status and error word", () => {
  test.each<[Failure, number]>([
    ["dns_error", 502],
    ["dns_timeout", 504],
    ["connection_refused", 502],
    ["destination_ip_unroutable", 502],
    ["connection_timeout", 504],
    ["connection_terminated", 502],
    ["http_response_timeout", 504],
    ["http_protocol_error", 502],
    ["http_response_header_section_size", 502],
    ["http_upgrade_failed", 502],
    ["proxy_loop_detected", 502],
    ["connection_limit_reached", 503],
    ["proxy_internal_error", 500],
  ])("%s", (cause, status) => {
    expect(refuseFailure(cause, [])).toMatchObject({ status, error: cause, reason: undefined, denial: undefined });
    expect(failureWords).toContain(cause);
  });

  test.each<[Malformation, number]>([
    ["bad_request", 400],
    ["head_timeout", 408],
    ["head_too_large", 431],
    ["too_many_fields", 431],
    ["coding_unknown", 501],
    ["version_unsupported", 505],
  ])("malformed: %s", (how, status) => {
    expect(refuseMalformed(how, "ID", [])).toMatchObject({
      status,
      error: "http_request_error",
      reason: "bad_request",
    });
  });

  test.each(reasons.filter((reason) => reason !== "allowed"))("%s", (reason) => {
    const known: Partial<Record<string, [number, string]>> = {
      bad_request: [400, "http_request_error"],
      limit_exceeded: [503, "connection_limit_reached"],
      auth_required: [407, "http_request_denied"],
      address_denied: [403, "destination_ip_prohibited"],
    };
    const [status, error] = known[reason] ?? [403, "http_request_denied"];
    expect(rowOfReason(reason)).toEqual({ status, error });
  });
});

describe("a denial as it goes on the wire", () => {
  test("is the example of interface.md, byte for byte where it fixes bytes", () => {
    const text = refusalBytes(renderRefusal(denial, undefined, "full")).toString("latin1");
    const [head = "", body] = text.split("\r\n\r\n");
    const [status, ...fields] = head.split("\r\n");
    expect(status).toBe("HTTP/1.1 403 Denied: scheme_mismatch 7F3KQ-2MX9A");
    expect(fields).toEqual(
      expect.arrayContaining([
        "Content-Type: text/plain; charset=utf-8",
        'Proxy-Status: sallyport; error=http_request_denied; details="scheme_mismatch; id=7F3KQ-2MX9A"',
        "X-Sallyport-Reason: scheme_mismatch",
        "X-Sallyport-Denial: 7F3KQ-2MX9A",
        "Connection: close",
      ]),
    );
    expect(body).toBe(`${lines.join("\n")}\n`);
  });

  test("the length counts bytes, not letters", () => {
    const message = renderRefusal(refuseDenial("no_rule", "ID", ["\u00e4\u20ac"]), undefined, "full");
    expect(message.fields[message.fields.indexOf("Content-Length") + 1]).toBe(String(message.body.length));
    expect(message.body.length).toBe(6);
  });

  test("the bytes end with the body, whose length the head gives", () => {
    const message = renderRefusal(denial, undefined, "full");
    const bytes = refusalBytes(message).toString("latin1");
    expect(bytes).toContain(`Content-Length: ${message.body.length}\r\n`);
    expect(bytes.endsWith(`\r\n\r\n${message.body.toString("latin1")}`)).toBe(true);
  });

  test("as JSON", () => {
    const { body, fields } = renderRefusal(denial, "application/json", "full");
    expect(fields.slice(0, 2)).toEqual(["Content-Type", "application/json"]);
    expect(JSON.parse(body.toString())).toEqual({
      status: 403,
      error: "http_request_denied",
      reason: "scheme_mismatch",
      denial: "7F3KQ-2MX9A",
      message: lines.join("\n"),
    });
  });
});

describe("a failure as it goes on the wire", () => {
  test("has an error word, and neither reason nor id", () => {
    const message = renderRefusal(failure, undefined, "full");
    expect([message.status, message.reasonPhrase]).toEqual([504, "Failed: dns_timeout"]);
    expect(fieldsOf(failure)).toMatchObject({ "Proxy-Status": "sallyport; error=dns_timeout" });
    expect(Object.keys(fieldsOf(failure)).filter((name) => name.startsWith("X-"))).toEqual([]);
  });

  test("a limit says when to try again", () => {
    expect(fieldsOf(refuseFailure("connection_limit_reached", []))["Retry-After"]).toMatch(/^\d+$/);
    expect(fieldsOf(refuseDenial("limit_exceeded", "ID", []))["Retry-After"]).toMatch(/^\d+$/);
    expect(fieldsOf(denial)["Retry-After"]).toBeUndefined();
  });
});

describe("denials.explain: how much is said", () => {
  const everything = (explain: ExplainLevel, accept?: string): string =>
    refusalBytes(renderRefusal(denial, accept, explain)).toString("latin1");

  test.each([["text/plain"], ["application/json"]])("id says the id and nothing of the policy, as %s", (accept) => {
    const text = everything("id", accept);
    expect(text).toContain("403 Denied: 7F3KQ-2MX9A");
    expect(text).toContain('details="id=7F3KQ-2MX9A"');
    expect(text).not.toMatch(/scheme_mismatch|windows-update|10\.20\.1\.4/);
  });

  test.each([["text/plain"], ["application/json"]])("none says neither, as %s", (accept) => {
    const text = everything("none", accept);
    expect(text).toContain("HTTP/1.1 403 Forbidden\r\n");
    expect(text).not.toMatch(/scheme_mismatch|windows-update|10\.20\.1\.4|7F3KQ|X-Sallyport/);
  });

  test("a failure says nothing of its lines either", () => {
    const secret = refuseFailure("connection_refused", ["10.0.0.1 refused"]);
    for (const explain of ["id", "none"] as const) {
      expect(refusalBytes(renderRefusal(secret, undefined, explain)).toString("latin1")).not.toContain("10.0.0.1");
    }
  });
});

describe("JSON where Accept prefers it", () => {
  test.each<[string, string | undefined, boolean]>([
    ["no Accept", undefined, false],
    ["JSON", "application/json", true],
    ["a JSON of problems", "application/problem+json", true],
    ["in other letters", "Application/JSON", true],
    ["anything", "*/*", false],
    ["text", "text/plain", false],
    ["JSON before anything", "application/json, */*", true],
    ["anything before JSON", "*/*, application/json", false],
    ["text before JSON", "text/plain, application/json", false],
    ["text before JSON in other letters", "Text/Plain, Application/JSON", false],
    ["JSON that weighs more", "text/plain;q=0.5, application/json", true],
    ["JSON that weighs less", "application/json;q=0.5, text/plain", false],
    ["JSON that weighs nothing", "application/json;q=0", false],
    ["a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false],
    ["a weight that is none", "application/json;q=x", false],
    ["nonsense", ";;,,=", false],
  ])("%s", (_sentence, accept, json) => {
    expect(fieldsOf(denial, accept)["Content-Type"]).toBe(json ? "application/json" : "text/plain; charset=utf-8");
  });
});
