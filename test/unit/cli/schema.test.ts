import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { disk } from "../../../src/config/disk.ts";
import { policiesDir, run } from "./run-program.ts";

type Schema = {
  readonly $schema: string;
  readonly title: string;
  readonly required: readonly string[];
  readonly additionalProperties: boolean;
  readonly properties: Readonly<Record<string, { readonly items?: Schema }>>;
};

const schemaOf = async (name: string): Promise<Schema> => JSON.parse((await run(["schema", name])).stdout) as Schema;

describe("schema", () => {
  test("of a policy has every key that the example uses, and admits no other", async () => {
    const schema = await schemaOf("policy");
    const example = parse(disk.readFile(`${policiesDir}/site.example.yaml`)) as { readonly rules: readonly object[] };
    expect(schema).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "Sallyport policy",
      additionalProperties: false,
    });
    expect(schema.required).toContain("name");
    expect(Object.keys(schema.properties)).toEqual(expect.arrayContaining(Object.keys(example)));
    const rule = schema.properties["rules"]?.items;
    expect(rule?.additionalProperties).toBe(false);
    expect(Object.keys(rule?.properties ?? {})).toEqual(expect.arrayContaining(example.rules.flatMap(Object.keys)));
  });

  test("of a configuration has the keys of sallyport.yaml", async () => {
    const schema = await schemaOf("config");
    expect(schema).toMatchObject({ title: "Sallyport configuration", additionalProperties: false });
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining([
        "version",
        "listen",
        "admin",
        "policy",
        "via",
        "dns",
        "connect_to",
        "limits",
        "log",
        "denials",
      ]),
    );
  });

  test("describes every key of a rule but those whose name says it all", async () => {
    const properties: Readonly<Record<string, object>> =
      (await schemaOf("policy")).properties["rules"]?.items?.properties ?? {};
    const silent = Object.keys(properties).filter((key) => !("description" in (properties[key] ?? {})));
    expect(silent).toEqual(["owner", "ticket"]);
  });

  test.each([
    ["polcy", "did you mean policy?"],
    ["everything", "the schemas are config and policy"],
  ])("of %s there is none", async (name, hint) => {
    const { exit, stdout, stderr } = await run(["schema", name]);
    expect(stderr).toBe(`sallyport: error: there is no schema of "${name}"\nsallyport: hint: ${hint}\n`);
    expect([exit, stdout]).toEqual([2, ""]);
  });

  test("needs a name", async () => {
    const { exit, stdout, stderr } = await run(["schema"]);
    expect(stderr).toContain("sallyport: error: missing required argument");
    expect([exit, stdout]).toEqual([2, ""]);
  });
});
