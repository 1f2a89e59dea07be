/** JSON Schemas for editors, from the same definitions that files are judged by. */
import { z } from "zod";
import { policySchema } from "./policy-schema.ts";
import { settingsSchema } from "./settings-schema.ts";

/** The schema of a policy file, or of sallyport.yaml, in JSON Schema 2020-12. */
export function jsonSchema(name: "config" | "policy"): Record<string, unknown> {
  const schema = name === "config" ? settingsSchema : policySchema;
  return { ...z.toJSONSchema(schema, { io: "input", target: "draft-2020-12", reused: "inline" }) };
}
