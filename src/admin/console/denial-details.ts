/** One denial: what it was, why, and the rule that would allow it. */
import { type Api, problemText } from "./api.ts";
import { copyable } from "./copy.ts";
import { type Denial, askedText, readDenial, trialQuery } from "./denial.ts";
import { type Child, button, byId, el, fill, show } from "./dom.ts";
import { factList, groundsView, verdictBadge } from "./explanation.ts";
import { proposalView } from "./proposal.ts";
import type { Fields } from "./read.ts";
import { counted, instantText } from "./shown.ts";

export type DenialDetails = {
  /** Empty hides them. `isAsked` puts the focus there. */
  readonly open: (id: string, isAsked: boolean) => void;
  readonly isOpen: () => boolean;
};

export function showDenialDetails(api: Api): DenialDetails {
  const place = byId("details", HTMLElement);
  let opened = "";
  let asking = new AbortController();

  const open = async (id: string, isAsked: boolean): Promise<void> => {
    asking.abort();
    opened = id;
    show(place, id !== "");
    document.body.classList.toggle("with-details", id !== "");
    if (id === "") return fill(place);
    asking = new AbortController();
    const { signal } = asking;
    fill(place, headOf(id), el("p", { class: "muted" }, "Asking the proxy …"));
    if (isAsked) place.querySelector("h2")?.focus();
    const answer = await api.json(`api/denials/${encodeURIComponent(id)}`, signal);
    if (signal.aborted) return;
    if (answer.kind !== "ok") {
      const retry = button("Ask again", () => void open(id, true));
      place.lastElementChild?.replaceWith(el("div", {}, el("p", { role: "alert" }, problemText(answer)), retry));
      return;
    }
    const causes = answer.value.children("causes");
    const views = causes.map((cause, i) => causeView(api, id, cause, i));
    place.lastElementChild?.replaceWith(el("div", {}, ...views));
  };
  return { open: (id, isAsked) => void open(id, isAsked), isOpen: () => opened !== "" };
}

function headOf(id: string): HTMLElement {
  return el(
    "div",
    { class: "details-head" },
    el("h2", { tabindex: "-1" }, "Denial ", el("span", { class: "id" }, id)),
    el("a", { href: "#/denials", class: "close" }, "Close ", el("kbd", {}, "Esc")),
  );
}

function causeView(api: Api, id: string, cause: Fields, i: number): HTMLElement {
  const denial = readDenial(cause.child("denial"));
  const others = cause.children("others").map(readDenial);
  return el(
    "article",
    {},
    el("p", { class: "asked text" }, askedText(denial)),
    el("p", {}, verdictBadge(denial.reason, denial.would)),
    ...whyOf(cause, denial),
    el("h3", {}, "The rule that would allow it"),
    proposalPart(api, id, cause, i),
    el("h3", {}, "Who and when"),
    factList(factsOf(denial)),
    el("h3", {}, "On the command line"),
    copyable(`sallyport why ${id}\nsallyport allow ${id}\n`, "the commands"),
    othersView(denial, others),
  );
}

function factsOf(denial: Denial): readonly (readonly [string, string | Node])[] {
  const { clients, otherClients, count, wouldCount, firstSeen, lastSeen, group, sni, tls, range, listener, rule } =
    denial;
  const who = clients.map(({ address, count: times }) => `${address} (${times.toLocaleString("en")})`);
  return [
    [
      "seen",
      `${counted(count, "time")}${wouldCount > 0 ? `, let pass by report mode ${counted(wouldCount, "time")}` : ""}`,
    ],
    ["first", instantText(firstSeen)],
    ["last", instantText(lastSeen)],
    ["clients", [...who, ...(otherClients > 0 ? [`others (${otherClients.toLocaleString("en")})`] : [])].join(", ")],
    ["group", group === "_none" ? "none" : group],
    ["server name", sni],
    ["TLS", tls],
    ["Range", range],
    ["rule", rule],
    ["closest rule", denial.nearest === rule ? "" : denial.nearest],
    ["listener", listener],
    ["read on", `docs/reasons.md#${denial.reason}`],
  ];
}

function whyOf(cause: Fields, denial: Denial): readonly Child[] {
  if (!cause.has("explanation")) return [el("p", {}, "No target could be read, so no rule was asked.")];
  const explanation = cause.child("explanation");
  const reason = explanation.text("reason");
  const isSame = reason === denial.reason;
  const message = explanation.text("message");
  const isWhole = cause.flag("explanation_is_whole");
  return [
    isSame || !isWhole
      ? undefined
      : el("p", {}, "Under the policy in force now: ", verdictBadge(reason, explanation.text("would") === "deny")),
    isSame || isWhole ? el("p", { class: "message" }, message) : undefined,
    isWhole
      ? undefined
      : el(
          "p",
          { class: "muted" },
          "What decided is not kept (addresses, a Host field, the bytes of a hello, a limit): what follows is the same request as far as it is known.",
        ),
    el(
      "details",
      {},
      el("summary", {}, "How it was decided, and what else would do"),
      ...groundsView(explanation),
      el("p", {}, el("a", { href: `#/try?${trialQuery(denial)}` }, "Try this request with changes")),
    ),
  ];
}

/** The proposal, and the wishes that it is asked for with. */
function proposalPart(api: Api, id: string, cause: Fields, i: number): HTMLElement {
  const shownRule = el("div", { "aria-live": "polite" }, ...proposalView(cause.child("proposal")));
  if (cause.child("proposal").text("kind") !== "rule") return shownRule;
  const wide = el("input", { type: "checkbox" });
  const ttl = el(
    "select",
    {},
    ...[
      ["", "for ever"],
      ["1d", "a day"],
      ["7d", "7 days"],
      ["30d", "30 days"],
      ["26w", "half a year"],
    ].map(([value = "", text = ""]) => el("option", { value }, text)),
  );
  const ticket = el("input", { autocomplete: "off", maxlength: "200" });
  let asking = new AbortController();
  const ask = async (): Promise<void> => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const wishes = new URLSearchParams({ wide: String(wide.checked), ttl: ttl.value, ticket: ticket.value });
    const answer = await api.json(`api/denials/${encodeURIComponent(id)}?${wishes.toString()}`, signal);
    if (signal.aborted) return;
    if (answer.kind !== "ok") return fill(shownRule, el("p", { role: "alert" }, problemText(answer)));
    const again = answer.value.children("causes")[i];
    fill(shownRule, ...proposalView((again ?? cause).child("proposal")));
  };
  const form = el(
    "form",
    { class: "wishes" },
    el("label", { class: "check" }, wide, " wider: names, paths and methods around it"),
    el("label", {}, el("span", { class: "label" }, "Valid"), ttl),
    el("label", {}, el("span", { class: "label" }, "Ticket"), ticket),
  );
  form.addEventListener("change", () => void ask());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void ask();
  });
  return el("div", {}, form, shownRule);
}

function othersView(denial: Denial, others: readonly Denial[]): HTMLElement | undefined {
  if (others.length === 0) return undefined;
  const items = others.map((other) =>
    el(
      "li",
      { class: "text" },
      el("a", { href: `#/denials/${encodeURIComponent(other.id)}` }, askedText(other)),
      ` ${other.reason}`,
    ),
  );
  return el("div", {}, el("h3", {}, `What else ${denial.client} was denied`), el("ul", {}, ...items));
}
