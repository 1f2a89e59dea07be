/** The policy in force: its files, its rules, and when it was loaded. */
import { type Api, problemText } from "./api.ts";
import { byId, el, fill } from "./dom.ts";
import { factList } from "./explanation.ts";
import type { Sample } from "./metrics-text.ts";
import type { Fields } from "./read.ts";
import { counted, instantText } from "./shown.ts";

export type PolicyPanel = {
  /** Asks for it, and shows it. */
  readonly open: () => void;
  /** What the metrics say of the last load; a new policy is asked for while it is seen. */
  readonly setSample: (sample: Sample, isSeen: boolean) => void;
};

const maxRules = 200;

export function showPolicy(api: Api): PolicyPanel {
  const place = byId("policy", HTMLElement);
  const load = el("div", {});
  let sample: Sample | undefined;
  /** Of what is shown. */
  let hash = "";
  let isAsking = false;

  const open = async (): Promise<void> => {
    if (isAsking) return;
    isAsking = true;
    const answer = await api.json("api/policy");
    isAsking = false;
    if (answer.kind !== "ok") return fill(place, el("p", { role: "alert" }, problemText(answer)));
    hash = answer.value.text("hash");
    fill(place, load, ...policyParts(answer.value));
  };
  return {
    open: () => void open(),
    setSample(next, isSeen) {
      const before = sample;
      sample = next;
      if (before === undefined || loadKey(before) !== loadKey(next)) fill(load, factList(loadFacts(next)));
      if (isSeen && hash !== "" && next.hash !== hash) void open();
    },
  };
}

function loadKey({ hash, loadedAtMs, lastReloadWorked, reloads }: Sample): string {
  return JSON.stringify([hash, loadedAtMs, lastReloadWorked, [...reloads]]);
}

function loadFacts({ loadedAtMs, lastReloadWorked, reloads }: Sample): readonly (readonly [string, string])[] {
  const done = [...reloads].filter(([, count]) => count > 0).map(([result, count]) => `${result} ${count}`);
  return [
    ["loaded", instantText(new Date(loadedAtMs).toISOString())],
    ["last load", lastReloadWorked ? "worked" : "failed: the policy before it is still in force; the log says why"],
    ["reloads", done.length === 0 ? "none since the start" : done.join(", ")],
  ];
}

function policyParts(policy: Fields): readonly HTMLElement[] {
  const rules = policy.children("rules");
  const files = policy.children("files");
  const groups = policy.children("groups");
  return [
    factList([
      ["hash", policy.text("hash")],
      ["generation", String(policy.number("generation"))],
      ["default mode", policy.text("default_mode")],
      ["rules", rules.length.toLocaleString("en")],
    ]),
    el("h3", {}, "Packs and site policies"),
    tableOf(
      ["Name", "Kind", "Title", "Used for", "Rules"],
      files.map((file) => fileRow(file, rules)),
    ),
    ...(groups.length === 0
      ? []
      : [
          el("h3", {}, "Groups of clients"),
          tableOf(
            ["Group", "Addresses"],
            groups.map((group) => [group.text("name"), group.texts("addresses").join(", ")]),
          ),
        ]),
    el("h3", {}, "Rules, in order of precedence"),
    ruleTable(rules),
  ];
}

function fileRow(file: Fields, rules: readonly Fields[]): readonly string[] {
  const name = file.text("name");
  const uses = file.children("uses").map((use) => {
    const without = use.texts("without");
    const clients = use.has("clients") ? use.texts("clients").join(", ") : "every client";
    return `${clients}${without.length === 0 ? "" : ` without ${without.join(", ")}`}`;
  });
  const own = rules.filter((rule) => rule.text("id").startsWith(`${name}/`)).length;
  return [name, file.text("kind"), file.text("title"), uses.join("; "), String(own)];
}

function ruleTable(rules: readonly Fields[]): HTMLElement {
  const search = el("input", { type: "search", autocomplete: "off", placeholder: "id, host, port, group" });
  const place = el("div", {});
  const draw = (): void => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rules.map(ruleRow).filter((row) => {
      const all = row.join("\n").toLowerCase();
      return words.every((word) => all.includes(word));
    });
    const shownRows = found.slice(0, maxRules);
    const part = shownRows.length < found.length ? `; the first ${shownRows.length} are shown` : "";
    fill(
      place,
      el("p", { class: "muted" }, `${counted(found.length, "rule")}${part}`),
      tableOf(["Rule", "Action", "Hosts and addresses", "Expects", "Clients", "Mode", "Until"], shownRows),
    );
  };
  search.addEventListener("input", draw);
  draw();
  return el(
    "div",
    {},
    el("label", { class: "grow" }, el("span", { class: "label" }, "Search the rules"), search),
    place,
  );
}

function ruleRow(rule: Fields): readonly string[] {
  const clients = rule.has("clients") ? rule.texts("clients").join(", ") : "every client";
  const hosts = [...rule.texts("hosts"), ...rule.texts("addresses")].join(", ");
  const until = rule.text("expires_at");
  return [
    rule.text("id"),
    rule.text("action"),
    hosts,
    rule.texts("expect").join(", "),
    clients,
    rule.text("mode"),
    until === "" ? "" : instantText(until),
  ];
}

function tableOf(names: readonly string[], rows: readonly (readonly string[])[]): HTMLElement {
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", { class: "text" }, cell))))),
    ),
  );
}
