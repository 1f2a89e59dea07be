/** The documents for administrators say what the code does: every word of a closed list, and every example. */
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { Io } from "../../src/cli/io.ts";
import { runProgram } from "../../src/cli/program.ts";
import { disk } from "../../src/config/disk.ts";
import { jsonSchema } from "../../src/config/json-schema.ts";
import { loadPolicySet } from "../../src/config/load.ts";
import { listPacks } from "../../src/config/packs.ts";
import { formatProblem } from "../../src/config/problem.ts";
import { defaultSettings } from "../../src/config/read-settings.ts";
import { runPolicyTests } from "../../src/config/run-tests.ts";
import { formatDuration, formatSize } from "../../src/config/units.ts";
import { compileRuleset } from "../../src/policy/compile.ts";
import { parsePattern } from "../../src/policy/pattern.ts";
import { reasons } from "../../src/policy/verdict.ts";
import { tunnelResults } from "../../src/record/metrics-labels.ts";
import { createMetrics } from "../../src/record/metrics.ts";
import { failureWords, refuseFailure, rowOfReason } from "../../src/wire/refusal.ts";
import { alertOfReason } from "../../src/wire/tls-alert.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const packsDir = `${root}policies/packs`;
const policy = readFileSync(`${root}docs/policy.md`, "utf8");
const configuration = readFileSync(`${root}docs/configuration.md`, "utf8");
const reasonsText = readFileSync(`${root}docs/reasons.md`, "utf8");
/** As the code spells them: nothing else of the environment is read. */
const variables = [
  ...new Set(readFileSync(`${root}src/config/overrides.ts`, "utf8").match(/\bSALLYPORT_[A-Z_]*[A-Z]\b/g)),
];
/** Before every rule of these documents that has an end. */
const now = Date.UTC(2026, 10, 21);

describe("reasons.md", () => {
  const sections = new Map(
    reasonsText
      .split(/^## /m)
      .slice(1)
      .map((text) => [text.split("\n", 1)[0] ?? "", text]),
  );
  const tunnelReasons = reasons.slice(reasons.indexOf("not_tls"));
  const endings = tunnelResults.filter((word) => !["ok", "denied", "drain"].includes(word));

  test.each([...new Set([...reasons, ...failureWords, ...endings])])(
    "%s has a heading of its own, which says what it means",
    (word) => {
      expect(sections.get(word)).toContain("**Means.**");
    },
  );

  test.each(reasons.filter((word) => word !== "allowed"))(
    "what a client gets for %s is what the table says",
    (reason) => {
      const section = sections.get(reason) ?? "";
      if (!tunnelReasons.includes(reason)) {
        const stage = reason === "address_denied" ? "dial" : "request";
        expect(section).toMatch(new RegExp(`^Stage ${stage}, status ${rowOfReason(reason).status}[,;.]`, "m"));
      } else {
        const alert = alertOfReason(reason);
        expect(section).toMatch(
          alert === undefined ? /^Stage tunnel, no alert/m : new RegExp(`^Stage tunnel, alert ${alert} `, "m"),
        );
      }
    },
  );

  test.each(failureWords)("the status of %s is what the table says", (failure) => {
    expect(sections.get(failure)).toMatch(new RegExp(`^Status ${refuseFailure(failure, []).status}\\b`, "m"));
  });

  test("every link within the page leads to a heading", () => {
    const headings = Array.from(reasonsText.matchAll(/^#{2,3} (.+)$/gm), ([, heading = ""]) => heading);
    expect(new Set(headings).size).toBe(headings.length);
    const anchors = new Set(headings.map((heading) => heading.toLowerCase().replaceAll(" ", "-")));
    const links = [...reasonsText.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor = ""]) => anchor);
    expect(links.length).toBeGreaterThan(5);
    expect(links.filter((link) => !anchors.has(link))).toEqual([]);
  });
});

describe("alerts in reasons.md", () => {
  const { groups } = parse(readFileSync(`${root}deploy/prometheus/sallyport.alerts.yaml`, "utf8")) as {
    groups: { rules: { alert: string; annotations: { runbook_url: string } }[] }[];
  };
  const alerts = groups.flatMap(({ rules }) => rules);
  const entries = new Map(
    (reasonsText.split("\n## Alerts\n")[1] ?? "")
      .split(/^### /m)
      .slice(1)
      .map((text) => [text.split("\n", 1)[0] ?? "", text]),
  );

  test("every alert has an entry, and no other has", () => {
    expect([...entries.keys()]).toEqual(alerts.map(({ alert }) => alert));
  });

  test.each(alerts)("$alert leads to its entry, which says what to do", ({ alert, annotations }) => {
    expect(annotations.runbook_url).toBe(`docs/reasons.md#${alert.toLowerCase()}`);
    for (const part of ["Means", "Usually", "Look", "Fix"]) expect(entries.get(alert)).toContain(`**${part}.** `);
  });
});

describe("error codes in reasons.md", () => {
  const codes = ["0x80d05001", "0x80240438", "0x80072EE2", "0x8024401B", "0x80244018", "0x80072F8F"];

  test.each(codes)("%s has a row that leads on, and says how we know", (code) => {
    const [, , meaning, where, source] = new RegExp(`^\\|[^|]*${code}.*$`, "m").exec(reasonsText)?.[0].split("|") ?? [];
    expect(meaning).toMatch(/[A-Z]+_E?_?[A-Z_]+/);
    expect(where).toMatch(/\]\(#|log/);
    expect(source).toMatch(/\w/);
  });
});

describe("examples", () => {
  const blocks = [...blocksOf("policy.md", policy), ...blocksOf("reasons.md", reasonsText)];
  const files = new Map(blocks.flatMap(({ mark, text }) => (mark.startsWith("file=") ? [[mark.slice(5), text]] : [])));
  const examples = blocks.filter(({ mark }) => mark === "policy" || mark === "rules");

  test("there are some in both documents", () => {
    expect(new Set(examples.map(({ place }) => place.split(":")[0]))).toEqual(new Set(["policy.md", "reasons.md"]));
  });

  test.each(examples)("the policy at $place loads without a notice, and its tests pass", ({ mark, text }) => {
    expect(findings(mark === "rules" ? `version: 1\nname: site\n${text}` : text, files)).toEqual([]);
  });
});

describe("policy.md", () => {
  const refused = rowsOf(section(policy, "### What is refused, and what to write"));
  const rewritten = rowsOf(section(policy, "## Hosts and wildcards")).filter(([, meaning]) =>
    /^`[^`]+`$/.test(meaning ?? ""),
  );

  test.each(refused)("%s is refused, and answered as the table says", (written, _why, instead = "") => {
    const reading = parsePattern(written, false);
    const [, host] = /^`([^`]+)`(?:,|$)/.exec(instead) ?? [];
    expect(reading).toMatchObject({ kind: "problem", instead: host });
  });

  test("the tables of refusals and of rewritings have rows", () => {
    expect([refused.length > 10, rewritten.length > 3]).toEqual([true, true]);
  });

  test.each(rewritten)("%s is read as %s", (written, meaning = "") => {
    expect(parsePattern(written, false)).toMatchObject({ kind: "patterns", rewritten: meaning.slice(1, -1) });
  });

  test("every pack is listed with its parameters, and no other is", () => {
    const listed = rowsOf(section(policy, "## Packs and parameters"))
      .filter(([name]) => !["pack", "clients", "without", "with"].includes(name))
      .map(([name, , parameters = ""]) => [name, Array.from(parameters.matchAll(/`([^`]+)`/g), ([, word]) => word)]);
    const packs = listPacks(disk, packsDir).packs.map(({ name, params }) => [name, params.map((param) => param.name)]);
    expect(new Map(listed as [string, string[]][])).toEqual(new Map(packs as [string, string[]][]));
  });
});

describe("configuration.md", () => {
  test.each(keysOf(jsonSchema("config")))("the key %s is there", (key) => {
    expect(configuration).toContain(`| \`${key}\` |`);
  });

  test.each(Object.entries(limitDefaults()))("the default of limits.%s is %s", (key, value) => {
    expect(configuration).toContain(`| \`limits.${key}\` | ${value} |`);
  });

  test.each(variables)("the variable %s is there", (variable) => {
    expect(configuration).toContain(`\`${variable}\``);
  });

  test("every metric that the registry exposes is there", async () => {
    const metrics = await createMetrics({ version: "1.2.3", nodeVersion: "v20.0.0" }).render();
    const names = Array.from(metrics.matchAll(/^# TYPE (\S+) (\S+)$/gm), ([, name = "", type = ""]) => ({
      name,
      type,
    }));
    const own = names.filter(({ name }) => name.startsWith("sallyport_"));
    expect(own.length).toBeGreaterThan(20);
    expect(names.filter(({ name }) => !configuration.includes(`\`${name}\``))).toEqual([]);
    expect(own.filter(({ name, type }) => !configuration.includes(`| \`${name}\` | ${type} |`))).toEqual([]);
  });

  test("no metric of Sallyport's is there that does not exist", async () => {
    const metrics = await createMetrics({ version: "1.2.3", nodeVersion: "v20.0.0" }).render();
    const named = Array.from((configuration + reasonsText).matchAll(/\bsallyport_[a-z_]+/g), ([name]) => name);
    expect(named.filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([]);
  });
});

describe("commands", () => {
  const named = Array.from(
    (policy + configuration + reasonsText).matchAll(/\bsallyport ([a-z]+)\b/g),
    ([, word = ""]) => word,
  );
  const tries = Array.from(reasonsText.matchAll(/^\*\*Try\.\*\* `sallyport ([^`]+)`$/gm), (match) => {
    const reason = /^## (\S+)$/m.exec(reasonsText.slice(reasonsText.lastIndexOf("\n## ", match.index)))?.[1] ?? "";
    return [reason, match[1] ?? ""] as const;
  });

  test("every command that the documents name exists", async () => {
    const help = await run(["--help"]);
    const existing = new Set(Array.from(help.matchAll(/^ {2}([a-z]+)\b/gm), ([, word = ""]) => word));
    expect(named.filter((word) => !existing.has(word))).toEqual([]);
  });

  test("most reasons have a command to try", () => {
    expect(tries.length).toBeGreaterThan(10);
  });

  test.each(tries)("what stands under %s is denied so by the default policy: %s", async (reason, line) => {
    const words = Array.from(line.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, bare]) => quoted ?? bare ?? "");
    expect(await run(words)).toMatch(new RegExp(`^denied: ${reason}\n`));
  });
});

type Block = { readonly place: string; readonly mark: string; readonly text: string };

/** YAML blocks with a mark: `policy` is a whole one, `rules` lacks its head, `file=PATH` is a file that others use. */
function blocksOf(name: string, text: string): Block[] {
  return Array.from(text.matchAll(/^```yaml (\S+)\n([^]*?)^```$/gm), (match) => {
    const line = text.slice(0, match.index).split("\n").length;
    return { place: `${name}:${line}`, mark: match[1] ?? "", text: match[2] ?? "" };
  });
}

/** Every problem, notice and failed test. */
function findings(text: string, files: ReadonlyMap<string, string>): string[] {
  const loaded = loadPolicySet({
    ...disk,
    readFile: (path) => (path === "site.yaml" ? text : (files.get(path) ?? disk.readFile(path))),
    files: ["site.yaml"],
    packsDir,
  });
  if (loaded.kind === "problems") return loaded.problems.map(formatProblem);
  const failures = runPolicyTests(compileRuleset(loaded.set), loaded.tests, now);
  return [...loaded.notices, ...failures].map(formatProblem);
}

/** From a heading to the next one of its level or above. */
function section(text: string, heading: string): string {
  const level = heading.indexOf(" ");
  const rest = text.slice(text.indexOf(`${heading}\n`) + heading.length);
  const end = rest.search(new RegExp(`^#{2,${level}} `, "m"));
  const own = end < 0 ? rest : rest.slice(0, end);
  const deeper = own.search(/^#+ /m);
  return deeper < 0 ? own : own.slice(0, deeper);
}

/** Table rows whose first cell is one piece of code: it without its backticks, then the other cells. */
function rowsOf(text: string): [string, ...string[]][] {
  return Array.from(text.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm), ([, first = "", rest = ""]) => {
    return [first, ...rest.split("|").map((cell) => cell.trim())];
  });
}

/** Dotted paths of all keys of a JSON Schema; `[]` stands for the items of a list. */
function keysOf(schema: unknown, prefix = ""): string[] {
  const { properties = {}, items } = schema as { properties?: Record<string, unknown>; items?: unknown };
  const own = Object.entries(properties).flatMap(([key, value]) => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    return [path, ...keysOf(value, path)];
  });
  return items === undefined ? own : [...own, ...keysOf(items, `${prefix}[]`)];
}

/** Keys of `limits` with their defaults, as a file writes both. */
function limitDefaults(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(defaultSettings.limits).map(([name, value]) => {
      const key = name.replace(/(Ms|Bytes)$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (name.endsWith("Ms")) return [key, seconds(value)];
      return [key, name.endsWith("Bytes") ? formatSize(value) : String(value)];
    }),
  );
}

/** 120s, not 2m: as interface.md has it. */
function seconds(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : formatDuration(ms);
}

/** What a command answers, in a directory without configuration. */
async function run(args: readonly string[]): Promise<string> {
  let answer = "";
  const io: Io = {
    stdoutReady: () => Promise.resolve(true),
    stdout: (text) => (answer += text),
    stderr: () => {},
    stdin: Readable.from([]),
    env: {},
    cwd: root,
    disk,
    openRead: () => Readable.from([]),
    createFile: () => false,
    fileExists: () => false,
    onSignal: () => {},
    now: () => now,
    policiesDir: `${root}policies`,
    program: "sallyport",
    version: "1.2.3",
    nodeVersion: "20.0.0",
    openFiles: () => undefined,
  };
  await runProgram(args, io);
  return answer;
}
