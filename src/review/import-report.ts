/** What an import has made: a policy as text, and everything of the source that is not in it. */

/** A line of a file that is imported. */
export type SourceLine = { readonly file: string; readonly line: number; readonly text: string };

/**
 * What the policy does instead of what the line said: it lets less pass, it lets more pass, or it cannot be told.
 * `note` is what a reader should know though nothing is lost.
 */
export type ImportEffect = "narrower" | "wider" | "unclear" | "note";

export type ImportFinding = {
  /** Undefined where it is about the whole. */
  readonly at: SourceLine | undefined;
  readonly effect: ImportEffect;
  readonly message: string;
};

/** One rule, in words that are written as they stand. */
export type ImportedRule = {
  readonly id: string;
  readonly deny: boolean;
  readonly hosts: readonly string[];
  readonly addresses: readonly string[];
  /** `https`, `http:8530`, `tcp:22`. */
  readonly expect: readonly string[];
  /** Undefined is the language's default. */
  readonly methods: readonly string[] | undefined;
  /** Names of groups; undefined is everyone. */
  readonly clients: readonly string[] | undefined;
  readonly resolvesTo: readonly string[] | undefined;
  readonly sharedSuffix: boolean;
  readonly comments: readonly string[];
};

export type Imported = {
  readonly groups: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly rules: readonly ImportedRule[];
  /** In the order of the source. */
  readonly findings: readonly ImportFinding[];
};

/** `squid.conf:12`, or nothing where there is no line. */
export function placeText(at: SourceLine | undefined): string {
  return at === undefined ? "" : `${at.file}:${at.line}: `;
}

export function effectText(effect: ImportEffect): string {
  switch (effect) {
    case "narrower":
      return "not carried over (lets less pass)";
    case "wider":
      return "not carried over (LETS MORE PASS)";
    case "unclear":
      return "not carried over";
    case "note":
      return "note";
  }
}
