/** A text to be copied, with its button. */
import { button, el } from "./dom.ts";

/** `label` says what is copied, for who does not see it. */
export function copyable(text: string, label: string): HTMLElement {
  const code = el("pre", { tabindex: "0", "aria-label": label }, text);
  const said = el("span", { class: "muted", role: "status" });
  const copy = button(
    "Copy",
    () => {
      void copyText(text, code).then((done) => {
        said.textContent = done ? "copied" : "selected: press Ctrl+C";
      });
    },
    { "aria-label": `Copy ${label}` },
  );
  return el("div", { class: "copyable" }, code, el("p", { class: "row" }, copy, said));
}

/** Browsers give the clipboard to secure contexts only, which plain http beyond loopback is not: there the text is selected. */
async function copyText(text: string, code: HTMLElement): Promise<boolean> {
  try {
    if (!window.isSecureContext) throw new Error("no clipboard here");
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selection = window.getSelection();
    selection?.selectAllChildren(code);
    code.focus();
    return false;
  }
}
