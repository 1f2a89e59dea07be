/** What the policy in force makes of one request: an answer of `explain`, in words and tables. */
import { copyable } from "./copy.ts";
import { type Child, el } from "./dom.ts";
import type { Fields } from "./read.ts";

/** The verdict as a badge: its word, and the reason. */
export function verdictBadge(reason: string, would: boolean): HTMLElement {
  if (reason === "allowed") return el("span", { class: "badge ok" }, "allowed");
  if (would) return el("span", { class: "badge would" }, `would be denied: ${reason}`);
  return el("span", { class: "badge deny" }, `denied: ${reason}`);
}

export function explanationView(explanation: Fields): readonly Child[] {
  const message = explanation.text("message");
  return [
    el("p", {}, verdictBadge(explanation.text("reason"), explanation.text("would") === "deny")),
    message === "" ? undefined : el("p", { class: "message" }, message),
    ...groundsView(explanation),
  ];
}

/** What was looked at, and what would have to change. */
export function groundsView(explanation: Fields): readonly Child[] {
  const rule = explanation.text("rule");
  const reason = explanation.text("reason");
  const client = explanation.child("client");
  const groups = client.texts("groups").map((name) => `in ${name}`);
  return [
    factList([
      ["decided by", rule === "" ? "no rule" : rule],
      ["at", explanation.text("place")],
      ["closest rule", explanation.text("nearest") === rule ? "" : explanation.text("nearest")],
      ["stage", reason === "allowed" ? "" : explanation.text("stage")],
      ["client", [client.text("address"), ...groups].join(" ")],
      ["answered with", answerText(explanation)],
    ]),
    coveringView(explanation.children("covering")),
    remediesView(explanation.children("remedies")),
  ];
}

/** A list of names and values, those without a value left out. */
export function factList(facts: readonly (readonly [name: string, value: string | Node])[]): HTMLElement {
  const given = facts.filter(([, value]) => value !== "");
  return el(
    "dl",
    { class: "facts" },
    ...given.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

function answerText(explanation: Fields): string {
  if (explanation.text("reason") === "allowed" || explanation.text("would") === "deny") return "";
  if (explanation.number("alert") > 0) return `TLS alert ${explanation.number("alert")}`;
  return explanation.number("status") > 0 ? `status ${explanation.number("status")}` : "";
}

function coveringView(covering: readonly Fields[]): HTMLElement | undefined {
  if (covering.length === 0) return undefined;
  const rows = covering.flatMap((pattern) =>
    pattern.children("rules").map((rule) => {
      const decides = rule.text("fate") === "decides";
      return el(
        "tr",
        decides ? { class: "decides" } : {},
        el("td", { class: "text" }, pattern.text("pattern")),
        el("td", { class: "text", title: rule.text("place") }, rule.text("rule")),
        el("td", {}, rule.text("message")),
      );
    }),
  );
  return el(
    "details",
    {},
    el("summary", {}, `Patterns that cover the host: ${rows.length}`),
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ...["Pattern", "Rule", "Fate"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, ...rows),
      ),
    ),
  );
}

function remediesView(remedies: readonly Fields[]): HTMLElement | undefined {
  if (remedies.length === 0) return undefined;
  const items = remedies.map((remedy) => {
    const rule = remedy.text("rule");
    return el("li", {}, remedy.text("text"), rule === "" ? undefined : copyable(`${rule}\n`, "the rule of this way"));
  });
  return el("div", {}, el("h4", {}, "Any one of these would do"), el("ul", {}, ...items));
}
