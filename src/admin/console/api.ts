/** Asks the admin server, with the token where there is one. */
import { type Fields, parseJson } from "./read.ts";

export type Refused = { readonly kind: "refused"; readonly status: number; readonly hint: string };
export type Unreachable = { readonly kind: "unreachable" };
export type Answer<Value> = { readonly kind: "ok"; readonly value: Value } | Refused | Unreachable;

export type Api = {
  /** `path` without a leading slash. */
  readonly json: (path: string, signal?: AbortSignal) => Promise<Answer<Fields>>;
  readonly text: (path: string) => Promise<Answer<string>>;
  /** The body as it comes; ends when `signal` is aborted. */
  readonly stream: (path: string, signal: AbortSignal) => Promise<Answer<ReadableStream<Uint8Array>>>;
};

const timeoutMs = 15_000;

/** `onRefused` is told every time the token is missing or wrong. */
export function createApi(token: () => string, onRefused: () => void): Api {
  const ask = async (path: string, signal: AbortSignal): Promise<Answer<Response>> => {
    const headers = token() === "" ? {} : { authorization: `Bearer ${token()}` };
    let response: Response;
    try {
      response = await fetch(path, { headers, signal, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch {
      return { kind: "unreachable" };
    }
    if (response.ok) return { kind: "ok", value: response };
    const said = parseJson(await response.text().catch(() => ""));
    if (response.status === 401) onRefused();
    return { kind: "refused", status: response.status, hint: said?.text("hint") ?? `status ${response.status}` };
  };
  const text = async (path: string, signal = AbortSignal.timeout(timeoutMs)): Promise<Answer<string>> => {
    const answer = await ask(path, signal);
    if (answer.kind !== "ok") return answer;
    try {
      return { kind: "ok", value: await answer.value.text() };
    } catch {
      return { kind: "unreachable" };
    }
  };
  return {
    text,
    async json(path, signal) {
      const answer = await text(path, signal);
      if (answer.kind !== "ok") return answer;
      const value = parseJson(answer.value);
      return value === undefined ? { kind: "unreachable" } : { kind: "ok", value };
    },
    async stream(path, signal) {
      const answer = await ask(path, signal);
      if (answer.kind !== "ok") return answer;
      return answer.value.body === null ? { kind: "unreachable" } : { kind: "ok", value: answer.value.body };
    },
  };
}

export function problemText(answer: Refused | Unreachable): string {
  return answer.kind === "unreachable" ? "the proxy does not answer" : answer.hint;
}
