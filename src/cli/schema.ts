/** `sallyport schema config|policy`: the JSON Schema of a file, for editors and other programs. */
import type { Command } from "commander";
import { jsonSchema } from "../config/json-schema.ts";
import { suggest } from "../config/suggest.ts";
import type { ExitCode, Io } from "./io.ts";
import { sayError, sayHint } from "./terminal.ts";

const schemaNames = ["config", "policy"] as const;
export type SchemaName = (typeof schemaNames)[number];

/** Gives the command its arguments, its help and what it does. */
export function configureSchema(command: Command, io: Io, done: (code: ExitCode) => void): void {
  command
    .argument("<name>", "config (sallyport.yaml) or policy (site policies and packs)")
    .addHelpText("after", help)
    .action((name: string) => done(runSchema(name, io)));
}

/** 0 printed, 2 no such schema. */
function runSchema(name: string, io: Pick<Io, "stdout" | "stderr">): ExitCode {
  const known = schemaNames.find((candidate) => candidate === name);
  if (known === undefined) {
    sayError(io, `there is no schema of "${name}"`);
    const closest = suggest(name, schemaNames);
    sayHint(io, closest === undefined ? `the schemas are ${schemaNames.join(" and ")}` : `did you mean ${closest}?`);
    return 2;
  }
  io.stdout(schemaText(known));
  return 0;
}

/** The schema as a file holds it. */
export function schemaText(name: SchemaName): string {
  return `${JSON.stringify(jsonSchema(name), null, 2)}\n`;
}

const help = `
Files are judged by the same definitions. For completion in an editor that knows yaml-language-server:
  sallyport schema policy > policies/policy.schema.json
and, as the first line of policies/site.yaml:
  # yaml-language-server: $schema=./policy.schema.json`;
