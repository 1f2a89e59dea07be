/** An import as a site policy: YAML with the reasons beside it. */
import { type ImportFinding, type Imported, type ImportedRule, effectText, placeText } from "./import-report.ts";
import { listText } from "./rule-text.ts";

/** `from` is the file that was read, `name` that of the policy. */
export function importedPolicyText({ groups, rules, findings }: Imported, from: string, name: string): string {
  const lost = findings.map((finding) => `#   ${findingText(finding)}\n`).join("");
  const report = lost === "" ? "" : `#\n# What was found on the way:\n${lost}`;
  const members = groups.map(({ name: group, addresses }) => `  ${group}: ${quotedList(addresses)}\n`).join("");
  const clients = members === "" ? "" : `\nclients:\n${members}`;
  const list = rules.length === 0 ? "" : `\nrules:\n${rules.map(ruleLines).join("")}`;
  return `# What clients may reach, made from ${plain(from)} by \`sallyport import\`. What no rule covers is denied.
# Read it before you use it: sallyport check, and sallyport explain for requests that you know.
${report}version: 1
name: ${name}
${clients}${list}`;
}

/** One line: place, what became of it, and why. */
export function findingText({ at, effect, message }: ImportFinding): string {
  const said = at === undefined || at.text === "" ? "" : ` [${plain(at.text)}]`;
  return `${plain(placeText(at))}${effectText(effect)}: ${plain(message)}${said}`;
}

function ruleLines(rule: ImportedRule): string {
  const { id, deny, hosts, addresses, expect, methods, clients, resolvesTo, sharedSuffix, comments } = rule;
  const lines: readonly (string | false)[] = [
    `id: ${id}`,
    deny && "action: deny",
    ...blockList("hosts", hosts),
    ...blockList("addresses", addresses),
    sharedSuffix && "shared_suffix: true",
    !deny && `expect: ${listText(expect)}`,
    methods !== undefined && `methods: ${listText(methods)}`,
    // Whatever is imported has let Range pass.
    !deny && expect.some((endpoint) => /^http(:|$)/.test(endpoint)) && "range: allow",
    resolvesTo !== undefined && `resolves_to: ${listText(resolvesTo)}`,
    clients !== undefined && `clients: ${listText(clients)}`,
  ];
  const fields = lines.filter((line) => typeof line === "string");
  const said = comments.map((comment) => `  # ${plain(comment)}\n`).join("");
  return `${said}${fields.map((line, i) => `  ${i === 0 ? "- " : "  "}${line}\n`).join("")}`;
}

const maxInLine = 4;

/** Long lists have a line for each entry, so that a difference between two versions can be read. */
function blockList(key: string, items: readonly string[]): readonly string[] {
  if (items.length === 0) return [];
  if (items.length <= maxInLine) return [`${key}: ${listText(items)}`];
  return [`${key}:`, ...items.map((item) => `  - ${listText([item]).slice(1, -1)}`)];
}

function quotedList(items: readonly string[]): string {
  return `[${items.map((item) => (item.includes(":") ? JSON.stringify(item) : item)).join(", ")}]`;
}

/** What a file says must not end a comment, or steer the terminal that shows it. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 400);
}
