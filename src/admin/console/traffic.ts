/** The strip of charts: asks /metrics every other second while the page is seen. */
import type { Api } from "./api.ts";
import { createChart } from "./chart.ts";
import { type Sample, ratesBetween, readMetrics } from "./metrics-text.ts";
import { bytesText, countText } from "./shown.ts";

export type Traffic = { readonly wake: () => void; readonly sleep: () => void };

const intervalMs = 2_000;
/** Five minutes. */
const points = 150;

/** `onSample` is told what each answer says. */
export function showTraffic(place: Element, api: Api, onSample: (sample: Sample) => void): Traffic {
  const perSecond = (value: number): string => `${bytesText(value)}/s`;
  const bytes = createChart({
    title: "Bytes per second, counted at the end",
    lines: ["down", "up"],
    format: perSecond,
    points,
  });
  const requests = createChart({
    title: "Requests per second",
    lines: ["all", "denied", "would be denied"],
    format: countText,
    points,
  });
  const tunnels = createChart({ title: "Tunnels", lines: ["open"], format: countText, points });
  place.append(bytes.element, requests.element, tunnels.element);
  let before: Sample | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;

  const look = async (): Promise<void> => {
    const answer = await api.text("metrics");
    const sample = answer.kind === "ok" ? readMetrics(answer.value, performance.now()) : undefined;
    const rates = before === undefined || sample === undefined ? undefined : ratesBetween(before, sample);
    const { bytesDown, bytesUp, decided, denied, would } = rates ?? noRates;
    // The first answer has nothing to be compared with: no gap to show.
    if (before !== undefined || sample === undefined) {
      bytes.add([bytesDown, bytesUp]);
      requests.add([decided, denied, would]);
    }
    tunnels.add([sample?.tunnels ?? Number.NaN]);
    before = sample;
    if (sample !== undefined) onSample(sample);
  };

  return {
    wake() {
      clearInterval(timer);
      timer = setInterval(() => void look(), intervalMs);
      void look();
    },
    sleep() {
      clearInterval(timer);
      before = undefined;
    },
  };
}

const noRates = {
  bytesDown: Number.NaN,
  bytesUp: Number.NaN,
  decided: Number.NaN,
  denied: Number.NaN,
  would: Number.NaN,
};
