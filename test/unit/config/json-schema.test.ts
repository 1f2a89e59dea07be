import { describe, expect, test } from "vitest";
import { jsonSchema } from "../../../src/config/json-schema.ts";

/** Every property of a schema, with the way to it. */
function propertiesOf(schema: unknown, path = ""): [string, Record<string, unknown>][] {
  if (typeof schema !== "object" || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]): [string, Record<string, unknown>][] => {
    if (key !== "properties") return propertiesOf(value, path);
    return Object.entries<Record<string, unknown>>(value).flatMap(([name, property]) => [
      [`${path}.${name}`, property],
      ...propertiesOf(property, `${path}.${name}`),
    ]);
  });
}

describe.each(["config", "policy"] as const)("the schema of %s", (name) => {
  const schema = jsonSchema(name);

  test("says which dialect it is, and what it is about", () => {
    expect(schema).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: expect.any(String),
      type: "object",
    });
  });

  test("admits no unknown key anywhere", () => {
    const text = JSON.stringify(schema);
    expect(text.match(/"properties":/g)?.length).toBe(text.match(/"additionalProperties":false/g)?.length);
  });

  test("is plain JSON", () => {
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema);
  });
});

test("an editor can complete every field of a rule, and says what it does", () => {
  const properties = new Map(propertiesOf(jsonSchema("policy")));
  for (const key of [
    "id",
    "action",
    "hosts",
    "addresses",
    "expect",
    "tls_min",
    "sni",
    "ech",
    "range",
    "methods",
    "paths",
    "websocket",
    "clients",
    "resolves_to",
    "idle_timeout",
    "mode",
    "purpose",
    "source",
    "expires",
    "shared_suffix",
  ]) {
    expect([key, properties.get(`.rules.${key}`)?.["description"]]).toEqual([key, expect.any(String)]);
  }
  expect(properties.get(".rules.tls_min")).toMatchObject({ enum: ["1.0", "1.1", "1.2", "1.3"] });
  expect(jsonSchema("policy")["required"]).toEqual(["version", "name"]);
});
