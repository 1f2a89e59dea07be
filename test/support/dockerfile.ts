/** The instructions of a Dockerfile, as far as ours needs it: comments, continued lines and stages. */
export type Instruction = { readonly word: string; readonly text: string };

/** One FROM and what follows it; `name` is what stands behind AS. */
export type Stage = {
  readonly image: string;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
};

/** What stands before the first FROM is left out. */
export function readDockerfile(text: string): readonly Stage[] {
  const lines = text
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"))
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "");
  const stages: { image: string; name: string | undefined; instructions: Instruction[] }[] = [];
  for (const line of lines) {
    const [, word = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
    if (word === "FROM") {
      const [image = "", , name] = rest.split(/\s+/);
      stages.push({ image, name, instructions: [] });
    } else {
      stages.at(-1)?.instructions.push({ word, text: rest });
    }
  }
  return stages;
}

/** `["node", "x.js"]`, the form that needs no shell. */
export function execForm(stage: Stage, word: string): readonly string[] {
  const text = stage.instructions.findLast((one) => one.word === word)?.text ?? "";
  return JSON.parse(text.slice(text.indexOf("["))) as string[];
}
