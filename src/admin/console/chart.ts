/** A small chart of the last minutes, drawn as SVG. Styles are those of the style sheet: the policy of the page admits no others. */
import { el } from "./dom.ts";

export type Chart = {
  readonly element: HTMLElement;
  /** One value for each line. `NaN` is a gap. */
  readonly add: (values: readonly number[]) => void;
};

export type ChartOptions = {
  readonly title: string;
  /** What a line is called; its place is its colour. */
  readonly lines: readonly string[];
  readonly format: (value: number) => string;
  /** How many values fit in. */
  readonly points: number;
};

const [width, height] = [240, 48];

export function createChart({ title, lines, format, points }: ChartOptions): Chart {
  const history: number[][] = lines.map(() => []);
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  const paths = lines.map((_, i) => svgElement("path", { class: `line line-${i}` }));
  const area = svgElement("path", { class: "area" });
  svg.append(svgElement("path", { class: "base", d: `M0 ${height - 0.5}H${width}` }), area, ...paths);
  const values = lines.map((line, i) => {
    const value = el("strong", {}, "–");
    return { value, cell: el("span", { class: `key key-${i}` }, value, ` ${line}`) };
  });
  const most = el("span", { class: "muted most" });
  const element = el(
    "figure",
    { class: "chart panel" },
    el("figcaption", {}, el("span", { class: "chart-title" }, title), most),
    svg,
    el("p", { class: "keys" }, ...values.map(({ cell }) => cell)),
  );
  return {
    element,
    add(next) {
      for (const [i, past] of history.entries()) {
        past.push(next[i] ?? Number.NaN);
        if (past.length > points) past.shift();
      }
      const top = Math.max(0, ...history.flat().filter((value) => !Number.isNaN(value)));
      for (const [i, past] of history.entries()) paths[i]?.setAttribute("d", pathOf(past, points, top));
      area.setAttribute("d", areaOf(history[0] ?? [], points, top));
      const now = next.map((value) => (Number.isNaN(value) ? "–" : format(value)));
      for (const [i, { value }] of values.entries()) value.textContent = now[i] ?? "–";
      most.textContent = `most ${format(top)}`;
      const told = lines.map((line, i) => `${line} ${now[i] ?? "–"}`).join(", ");
      svg.setAttribute("aria-label", `${title}: ${told}; most in five minutes ${format(top)}`);
    },
  };
}

/** The newest value stands at the right edge. */
function pathOf(past: readonly number[], points: number, top: number): string {
  let path = "";
  for (const [i, value] of past.entries()) {
    if (Number.isNaN(value)) continue;
    const begins = i === 0 || Number.isNaN(past[i - 1] ?? Number.NaN);
    path += `${begins ? "M" : "L"}${placeOf(i, value, past.length, points, top)}`;
  }
  return path;
}

function areaOf(past: readonly number[], points: number, top: number): string {
  const from = past.findLastIndex((value) => Number.isNaN(value)) + 1;
  if (past.length - from < 2) return "";
  const line = past.slice(from).map((value, i) => placeOf(from + i, value, past.length, points, top));
  const left = line[0]?.split(" ")[0] ?? "0";
  return `M${left} ${height}L${line.join("L")}L${width} ${height}Z`;
}

function placeOf(i: number, value: number, length: number, points: number, top: number): string {
  const x = width - ((length - 1 - i) * width) / (points - 1);
  const y = height - 1 - (top === 0 ? 0 : (value / top) * (height - 4));
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}

function svgElement<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>>,
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
