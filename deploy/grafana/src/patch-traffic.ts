/** What the agents fetch: bytes, ranges, schemes, packs. */
import { BytesIEC, BytesPerSecondIEC, CountsPerMinute, PercentUnit } from "@grafana/grafana-foundation-sdk/units";
import type { DashboardWords } from "./frame.ts";
import { lines, number, series, withFile } from "./panels.ts";

const bytes = (direction: string): string => series("transferred_bytes_total", `direction="${direction}"`);
const ranges = series("range_responses_total");

export const patchTraffic: DashboardWords = {
  name: "patch-traffic",
  title: "Patch traffic",
  description: "What the agents fetch: bytes, answers to Range, schemes and packs.",
  rows: [
    {
      title: "Bytes",
      panels: [
        number(
          {
            title: "Downloaded",
            description: "Bytes from vendors to clients in the time shown.",
            unit: BytesIEC,
            width: 6,
            height: 4,
          },
          { expr: `sum(increase(${bytes("down")}[$__range]))` },
        ),
        number(
          {
            title: "Uploaded",
            description: "Bytes from clients to vendors in the time shown.",
            unit: BytesIEC,
            width: 6,
            height: 4,
          },
          { expr: `sum(increase(${bytes("up")}[$__range]))` },
        ),
        number(
          {
            title: "Ranges answered with 206",
            description:
              "The share of allowed Range requests that got the part they asked for. Below 100 %, BITS and Delivery Optimization fail or fetch whole files (0x80d05001).",
            unit: PercentUnit,
            decimals: 1,
            width: 6,
            height: 4,
            reasons: ["range_denied", "Windows Update error codes"],
          },
          {
            expr: `sum(increase(${series("range_responses_total", 'result="206"')}[$__range])) / (sum(increase(${ranges}[$__range])) > 0)`,
          },
          { below: 0.95 },
        ),
        number(
          {
            title: "Scheme mismatches",
            description: "http where https was expected, or the reverse, in the time shown; report mode included.",
            unit: "short",
            decimals: 0,
            width: 6,
            height: 4,
            reasons: ["scheme_mismatch"],
          },
          { expr: `sum(increase(${series("decisions_total", 'reason="scheme_mismatch"')}[$__range]))` },
        ),
        lines(
          {
            title: "From vendors, by scheme",
            description:
              "Payload is plain http, metadata https. Bytes are counted when an exchange is over, so that a long download shows as a step at its end.",
            unit: BytesPerSecondIEC,
            width: 12,
          },
          [{ expr: `sum by (scheme) (rate(${bytes("down")}[$__rate_interval]))`, legend: "{{scheme}}" }],
          true,
        ),
        lines(
          {
            title: "To vendors, by scheme",
            description: "What agents send: scans, reports, telemetry. More up than down is worth a look.",
            unit: BytesPerSecondIEC,
            width: 12,
          },
          [{ expr: `sum by (scheme) (rate(${bytes("up")}[$__rate_interval]))`, legend: "{{scheme}}" }],
          true,
        ),
      ],
    },
    {
      title: "Ranges and schemes",
      panels: [
        lines(
          {
            title: "Answers to Range requests",
            description:
              "206 is the part that was asked for. 200 is the whole file, which Delivery Optimization takes for an error; 416 means that the range lies beyond the file.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["range_denied", "range_invalid"],
          },
          [{ expr: `sum by (result) (rate(${ranges}[$__rate_interval])) * 60`, legend: "{{result}}" }],
          true,
        ),
        lines(
          {
            title: "Requests, by what became of their Range",
            description: "valid went on as it was, stripped lost its Range on the way, invalid was refused.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["range_invalid"],
          },
          [
            {
              expr: `sum by (range) (rate(${series("http_requests_total")}[$__rate_interval])) * 60`,
              legend: "{{range}}",
            },
          ],
          true,
        ),
        lines(
          {
            title: "Scheme mismatches, by verdict",
            description:
              "Vendors' documents say http or https for each host, and agents do as documented: what differs is another program, or a host that the document does not have.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["scheme_mismatch"],
          },
          [
            {
              expr: `sum by (verdict, mode) (rate(${series("decisions_total", 'reason="scheme_mismatch"')}[$__rate_interval])) * 60`,
              legend: "{{verdict}} ({{mode}})",
            },
          ],
        ),
        lines(
          {
            title: "Plain requests, by status",
            description: "What clients were answered: 4xx holds the denials, 5xx what went wrong with vendors.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["Failures of allowed exchanges"],
          },
          [
            {
              expr: `sum by (code_class) (rate(${series("http_requests_total")}[$__rate_interval])) * 60`,
              legend: "{{code_class}}",
            },
          ],
          true,
        ),
        lines(
          {
            title: "Allowed, by pack",
            description: "Exchanges that a rule allowed, by the pack or site policy it stands in: who is patching.",
            unit: CountsPerMinute,
            width: 24,
          },
          [
            {
              expr: `sum by (file) (${withFile(`rate(${series("rule_decisions_total", 'verdict="allow"')}[$__rate_interval])`)}) * 60 > 0`,
              legend: "{{file}}",
            },
          ],
          true,
        ),
      ],
    },
  ],
};
