/** The request of `explain` as a person types it: `CONNECT host:port`, `GET http://host/path`. */

export type RequestLine = { readonly method: string; readonly target: string };

export type RequestLineReading =
  | ({ readonly kind: "line" } & RequestLine)
  | { readonly kind: "problem"; readonly message: string; readonly hint: string };

const forms = '"CONNECT host:port" or "GET http://host/path"';

/**
 * Reads a method and a target, parted by one blank; what the target says is for the decision to judge. `resolved` are
 * the words of `--resolved`, which swallows a request that stands behind it.
 */
export function readRequestLine(text: string | undefined, resolved: readonly string[]): RequestLineReading {
  if (text === undefined) {
    const swallowed = resolved.some((word) => word.includes(" "));
    const hint = swallowed
      ? "put it first: --resolved takes all words behind it"
      : `sallyport explain ${forms}; --ndjson reads many`;
    return { kind: "problem", message: "the request is missing", hint };
  }
  const [, method, target] = /^(\S+) (\S+)$/.exec(text) ?? [];
  if (method !== undefined && target !== undefined) return { kind: "line", method, target };
  const meant = probableLine(text);
  return {
    kind: "problem",
    message: `"${text}" is no request`,
    hint: `write ${meant === undefined ? forms : `"${meant}"`}`,
  };
}

/** Further blanks, an HTTP version, a bare URL, a bare authority. */
function probableLine(text: string): string | undefined {
  const [first = "", second, third, ...more] = text.trim().split(/\s+/);
  if (second !== undefined) {
    const isLine = more.length === 0 && (third === undefined || /^HTTP\//i.test(third));
    return isLine ? `${first} ${second}` : undefined;
  }
  const [, host, port = ":443"] = /^https:\/\/([^/?#@:]+)(:\d+)?/i.exec(first) ?? [];
  if (host !== undefined) return `CONNECT ${host}${port}`;
  if (/^http:\/\/\S+$/i.test(first)) return `GET ${first}`;
  if (/^(\[[^\]]+\]|[\w.-]+):\d+$/.test(first)) return `CONNECT ${first}`;
  return /^[\w-]+(\.[\w-]+)+$/.test(first) ? `CONNECT ${first}:443` : undefined;
}
