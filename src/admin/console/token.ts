/** The token of `admin.token_file`: asked for when the server wants one, kept for this tab only. */
import { byId, show } from "./dom.ts";

export type TokenKeeper = {
  readonly token: () => string;
  /** Opens the dialog, once, when the server has refused. */
  readonly ask: () => void;
};

const key = "sallyport-token";

/** `onToken` is told of every new one. */
export function keepToken(onToken: () => void): TokenKeeper {
  const dialog = byId("token-dialog", HTMLDialogElement);
  const form = byId("token-form", HTMLFormElement);
  const input = byId("token", HTMLInputElement);
  const hint = byId("token-hint", HTMLElement);
  const opener = byId("token-button", HTMLButtonElement);
  const hintText = hint.textContent;
  let token = sessionStorage.getItem(key) ?? "";
  let isCancelled = false;

  const use = (next: string): void => {
    token = next;
    isCancelled = false;
    if (next === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, next);
    input.value = "";
    dialog.close();
    onToken();
  };
  const open = (): void => {
    if (!dialog.open) dialog.showModal();
    input.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = input.value.trim();
    // A field of HTTP takes no others: fetch would throw.
    if (/^[\x21-\x7e]+$/.test(typed)) use(typed);
    else hint.textContent = "A token is made of visible ASCII characters, without spaces.";
  });
  byId("token-forget", HTMLButtonElement).addEventListener("click", () => use(""));
  // Who closes it is not asked again by the next refusal. Escape is the one way that no button sees.
  const cancel = (): void => {
    isCancelled = true;
    dialog.close();
  };
  byId("token-cancel", HTMLButtonElement).addEventListener("click", cancel);
  dialog.addEventListener("cancel", cancel);
  opener.addEventListener("click", () => {
    hint.textContent = hintText;
    open();
  });
  show(opener, token !== "");
  return {
    token: () => token,
    ask() {
      show(opener, true);
      if (dialog.open || isCancelled) return;
      hint.textContent = token === "" ? hintText : "This token was refused. Another one?";
      open();
    },
  };
}
