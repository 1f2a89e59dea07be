/**
 * Lets Node run TypeScript files as they are: `node --import ./test/support/typescript.mjs FILE.ts`. Node 20 strips no
 * types, so this compiles each file as it is loaded and checks nothing (`npm run check:types` does). Where Node can do
 * it, it is left to Node.
 */
import { readFile } from "node:fs/promises";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

// The hooks live in a thread of their own, which loads this same file.
if (isMainThread && !process.features.typescript) register(import.meta.url);

const compiler = isMainThread ? undefined : (await import("typescript")).default;

/** A hook of Node's module loader. */
export async function load(url, context, next) {
  if (compiler === undefined || !url.endsWith(".ts") || url.includes("/node_modules/")) return next(url, context);
  const { ScriptTarget, ModuleKind } = compiler;
  const compilerOptions = {
    target: ScriptTarget.ES2023,
    module: ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    inlineSourceMap: true,
  };
  const { outputText } = compiler.transpileModule(await readFile(new URL(url), "utf8"), { compilerOptions });
  return { format: "module", source: outputText, shortCircuit: true };
}
