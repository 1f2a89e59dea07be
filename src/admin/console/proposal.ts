/** The rule that would allow a denied request, and what else it would open. */
import { copyable } from "./copy.ts";
import { type Child, el } from "./dom.ts";
import type { Fields } from "./read.ts";

export function proposalView(proposal: Fields): readonly Child[] {
  switch (proposal.text("kind")) {
    case "rule":
      return ruleView(proposal);
    case "allowed": {
      const rule = proposal.text("rule");
      return [el("p", {}, `The policy in force allows this already${rule === "" ? "" : `, by ${rule}`}.`)];
    }
    default:
      return [
        el("p", {}, `No rule: ${proposal.text("why")}.`),
        el("ul", {}, ...proposal.texts("instead").map((text) => el("li", {}, text))),
      ];
  }
}

function ruleView(proposal: Fields): readonly Child[] {
  const packs = proposal.children("packs");
  const changes = proposal.children("changes");
  return [
    ...packs.map((pack) =>
      el(
        "div",
        { class: "pack" },
        el(
          "p",
          {},
          `The pack ${pack.text("pack")} has this endpoint (${pack.text("rule")}): prefer it, under `,
          el("code", {}, "use:"),
        ),
        copyable(
          pack.text("use").startsWith("-") ? `${pack.text("use")}\n` : `  - ${pack.text("use")}\n`,
          `the pack ${pack.text("pack")}`,
        ),
      ),
    ),
    el("p", {}, "To paste at the top of ", el("code", {}, "rules:"), ` in ${proposal.text("file")}`),
    copyable(proposal.text("yaml"), "the proposed rule"),
    el("h4", {}, "What else it admits"),
    el("ul", {}, ...proposal.texts("notes").map((note) => el("li", {}, note))),
    proposal.has("changes")
      ? el(
          "details",
          {},
          el("summary", {}, `What changes in the policy in force: ${changes.length}`),
          el("ul", {}, ...changes.map((change) => el("li", {}, changeText(change)))),
        )
      : el("p", { class: "muted" }, "The policy is too large to try what else changes."),
  ];
}

function changeText(change: Fields): string {
  const kind = change.text("kind");
  const decided = kind === "rule" ? "decided by another rule" : "under other conditions";
  const word = kind === "allowed" || kind === "denied" ? `newly ${kind}` : decided;
  const clients = change.texts("clients");
  return [
    `${word}: ${change.texts("requests").join(", ")} to ${change.texts("patterns").join(", ")}`,
    ...change.texts("conditions"),
    change.has("clients") ? `for ${clients.length === 0 ? "nobody" : clients.join(", ")}` : "for every client",
  ].join("; ");
}
