/** Whether the proxy copes: tunnels and limits, the way to vendors, the process itself. */
import { BytesIEC, CountsPerMinute, PercentUnit, Seconds, Short } from "@grafana/grafana-foundation-sdk/units";
import type { DashboardWords } from "./frame.ts";
import { lines, number, ofProcess, series } from "./panels.ts";

const perMinute = (label: string, name: string, matchers = ""): string =>
  `sum by (${label}) (rate(${series(name, matchers)}[$__rate_interval])) * 60`;
const connectionLimit = series("limit", 'limit="connections"');
const quantile = (of: number, name: string): string =>
  `histogram_quantile(${of}, sum by (le) (rate(${series(`${name}_bucket`)}[$__rate_interval])))`;

export const tunnelsAndLimits: DashboardWords = {
  name: "tunnels-and-limits",
  title: "Tunnels and limits",
  description: "Whether the proxy copes: tunnels and limits, the way to the vendors, the process itself.",
  rows: [
    {
      title: "Tunnels",
      panels: [
        number(
          {
            title: "Tunnels open",
            description: "CONNECT tunnels and WebSockets open now.",
            unit: Short,
            width: 6,
            height: 4,
          },
          { expr: `sum(${series("tunnels_active")})` },
        ),
        number(
          {
            title: "Of the limit",
            description:
              "Open tunnels as a share of the connections that the proxy takes, on the instance that is nearest to its limit.",
            unit: PercentUnit,
            decimals: 1,
            width: 6,
            height: 4,
            reasons: ["SallyportTunnelsNearLimit", "limit_exceeded"],
          },
          { expr: `max(${series("tunnels_active")} / ignoring (limit) ${connectionLimit})` },
          { from: 0.8 },
        ),
        number(
          {
            title: "Refused by a limit",
            description: "Exchanges that a limit refused or ended in the time shown.",
            unit: Short,
            decimals: 0,
            width: 6,
            height: 4,
            reasons: ["limit_exceeded"],
          },
          { expr: `sum(increase(${series("limit_rejections_total")}[$__range]))` },
          { from: 1 },
        ),
        number(
          {
            title: "Files open, of those allowed",
            description:
              "Sockets and files that the process has open, as a share of what the system lets it open (ulimit -n). A tunnel needs two.",
            unit: PercentUnit,
            decimals: 1,
            width: 6,
            height: 4,
            reasons: ["connection_limit_reached"],
          },
          { expr: `max(${ofProcess("process_open_fds")} / ${ofProcess("process_max_fds")})` },
          { from: 0.8 },
        ),
        lines(
          {
            title: "Tunnels and their limit",
            description: "Tunnels open on each instance, and how many connections of clients it takes.",
            unit: Short,
            width: 12,
            reasons: ["limit_exceeded"],
          },
          [
            { expr: series("tunnels_active"), legend: "{{instance}}" },
            { expr: `min(${connectionLimit})`, legend: "limit" },
          ],
        ),
        lines(
          {
            title: "Ends of tunnels",
            description:
              "ok ended as both sides wanted, denied was cut for what stood in the TLS hello; the rest are failures, each with its entry in docs/reasons.md.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["Failures of allowed exchanges", "idle_timeout"],
          },
          [{ expr: `${perMinute("result", "tunnels_total")} > 0`, legend: "{{result}}" }],
          true,
        ),
        lines(
          {
            title: "TLS hellos judged",
            description: "What the first bytes in tunnels were: ok, or the reason for which the tunnel was closed.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["SallyportSniMismatch", "not_tls", "tls_version"],
          },
          [{ expr: `${perMinute("result", "sni_inspections_total")} > 0`, legend: "{{result}}" }],
          true,
        ),
        lines(
          {
            title: "Refusals by limits",
            description: "Which limit of sallyport.yaml refused or ended exchanges; draining is a shutdown.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["limit_exceeded", "bad_request"],
          },
          [{ expr: `${perMinute("limit", "limit_rejections_total")} > 0`, legend: "{{limit}}" }],
          true,
        ),
      ],
    },
    {
      title: "The way to the vendors",
      panels: [
        lines(
          {
            title: "Connections to vendors",
            description: "ok, or why no connection came about.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["connection_refused", "connection_timeout", "destination_ip_unroutable"],
          },
          [{ expr: `${perMinute("result", "dials_total")} > 0`, legend: "{{result}}" }],
          true,
        ),
        lines(
          {
            title: "Time to connect",
            description:
              "From the first attempt to the connection or its failure: half of them, and 99 of 100, are below.",
            unit: Seconds,
            width: 12,
            reasons: ["connection_timeout"],
          },
          [
            { expr: quantile(0.5, "dial_duration_seconds"), legend: "half" },
            { expr: quantile(0.99, "dial_duration_seconds"), legend: "99 %" },
          ],
        ),
        lines(
          {
            title: "Names looked up",
            description:
              "hit came from the cache, hosts from a file; negative is a name that does not exist; error and timeout are the resolver's.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["SallyportDnsFailing", "dns_error", "dns_timeout"],
          },
          [{ expr: `${perMinute("result", "dns_lookups_total")} > 0`, legend: "{{result}}" }],
          true,
        ),
        lines(
          {
            title: "Addresses not admitted",
            description:
              "Addresses that names resolved to and no rule admits, by class. private may be a missing resolves_to; loopback and unspecified are often a DNS filter.",
            unit: CountsPerMinute,
            width: 12,
            reasons: ["address_denied", "proxy_loop_detected"],
          },
          [{ expr: `${perMinute("class", "blocked_addresses_total")} > 0`, legend: "{{class}}" }],
          true,
        ),
      ],
    },
    {
      title: "The process",
      panels: [
        lines(
          {
            title: "Event-loop lag",
            description:
              "How late the process gets to its work: 99 of 100 times less than this. About 10 ms is the precision of the measurement; steadily above 100 ms every client waits.",
            unit: Seconds,
            width: 12,
            reasons: ["SallyportEventLoopLag"],
          },
          [{ expr: ofProcess("nodejs_eventloop_lag_p99_seconds"), legend: "{{instance}}" }],
        ),
        lines(
          {
            title: "CPU",
            description: "Seconds of CPU in a second. One process uses little more than one core.",
            unit: PercentUnit,
            width: 12,
            reasons: ["SallyportEventLoopLag"],
          },
          [{ expr: `rate(${ofProcess("process_cpu_seconds_total")}[$__rate_interval])`, legend: "{{instance}}" }],
        ),
        lines(
          {
            title: "Memory",
            description: "Resident memory of the process. It grows with open tunnels, not with time.",
            unit: BytesIEC,
            width: 12,
          },
          [{ expr: ofProcess("process_resident_memory_bytes"), legend: "{{instance}}" }],
        ),
        lines(
          {
            title: "Time to decide",
            description:
              "How long a request waits for its verdict; one in 64 is measured, and 99 of 100 of these are below.",
            unit: Seconds,
            width: 12,
          },
          [{ expr: quantile(0.99, "decision_duration_seconds"), legend: "99 %" }],
        ),
        number(
          {
            title: "Log lines lost",
            description:
              "Lines that could not be written in the time shown: the disk is full, or who reads the log is too slow.",
            unit: Short,
            decimals: 0,
            width: 12,
            height: 4,
          },
          { expr: `sum(increase(${series("log_dropped_total")}[$__range]))` },
          { from: 1 },
        ),
        number(
          {
            title: "Workers started again",
            description: "Worker processes that ended and were replaced in the time shown.",
            unit: Short,
            decimals: 0,
            width: 12,
            height: 4,
            reasons: ["proxy_internal_error"],
          },
          { expr: `sum(increase(${series("worker_restarts_total")}[$__range]))` },
          { from: 1 },
        ),
      ],
    },
  ],
};
