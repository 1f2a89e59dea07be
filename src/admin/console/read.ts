/** Reads JSON that came over the network: what is not there, or of another kind, is empty. */

export type Fields = {
  readonly text: (key: string) => string;
  readonly number: (key: string) => number;
  readonly flag: (key: string) => boolean;
  readonly texts: (key: string) => readonly string[];
  readonly child: (key: string) => Fields;
  readonly children: (key: string) => readonly Fields[];
  readonly has: (key: string) => boolean;
};

export function fieldsOf(value: unknown): Fields {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const values: ReadonlyMap<string, unknown> = new Map<string, unknown>(entries);
  const list = (key: string): readonly unknown[] => {
    const found = values.get(key);
    return Array.isArray(found) ? found : [];
  };
  return {
    text: (key) => textOf(values.get(key)),
    number(key) {
      const found = values.get(key);
      return typeof found === "number" ? found : 0;
    },
    flag: (key) => values.get(key) === true,
    texts: (key) => list(key).map(textOf),
    child: (key) => fieldsOf(values.get(key)),
    children: (key) => list(key).map(fieldsOf),
    has: (key) => values.get(key) !== undefined && values.get(key) !== null,
  };
}

/** Undefined where the text is no JSON. */
export function parseJson(text: string): Fields | undefined {
  try {
    return fieldsOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
