/** The form that tries a request on the policy in force. What it asks stands in the address, so that it can be sent to others. */
import { type Api, problemText } from "./api.ts";
import { byId, el, fill } from "./dom.ts";
import { explanationView } from "./explanation.ts";

export type TryForm = {
  /** Fills the form, and asks where there is something to ask. */
  readonly open: (query: URLSearchParams) => void;
};

/** `go` leads to another place of the page. */
export function showTryForm(api: Api, go: (hash: string) => void): TryForm {
  const form = byId("try", HTMLFormElement);
  const place = byId("answer", HTMLElement);
  const fields = [...form.elements].filter(
    (one) => one instanceof HTMLInputElement || one instanceof HTMLSelectElement,
  );
  let asking = new AbortController();

  const ask = async (query: URLSearchParams): Promise<void> => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const answer = await api.json(`api/explain?${queryOf(query).toString()}`, signal);
    if (signal.aborted) return;
    if (answer.kind === "ok") fill(place, el("h3", {}, "Answer"), ...explanationView(answer.value));
    else fill(place, el("p", { role: "alert", class: "notice" }, problemText(answer)));
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const field of fields) {
      const value = isCheckbox(field) && !field.checked ? "" : field.value.trim();
      if (value !== "") query.set(field.name, value);
    }
    const hash = `#/try?${query.toString()}`;
    if (hash === location.hash) void ask(query);
    else go(hash);
  });
  return {
    open(query) {
      for (const field of fields) {
        const value = query.get(field.name) ?? "";
        if (isCheckbox(field)) field.checked = value === "true";
        else field.value = value;
      }
      if (query.has("request")) void ask(query);
      else fill(place);
    },
  };
}

function isCheckbox(field: HTMLInputElement | HTMLSelectElement): field is HTMLInputElement {
  return field instanceof HTMLInputElement && field.type === "checkbox";
}

/** As /api/explain wants it. */
function queryOf(query: URLSearchParams): URLSearchParams {
  const asked = new URLSearchParams(query);
  if (asked.get("tls") === "none") {
    asked.delete("tls");
    asked.set("no_tls", "true");
  }
  return asked;
}
