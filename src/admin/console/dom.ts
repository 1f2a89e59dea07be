/** Elements out of values. There is no way from a text to markup here: texts become text nodes, and attributes are a closed list. */
import { shown } from "./shown.ts";

export type Child = Node | string | undefined;

type AttributeName =
  | "class"
  | "id"
  | "href"
  | "title"
  | "type"
  | "name"
  | "value"
  | "for"
  | "role"
  | "scope"
  | "colspan"
  | "tabindex"
  | "datetime"
  | "placeholder"
  | "autocomplete"
  | "maxlength"
  | `aria-${string}`
  | `data-${string}`;

export type Attributes = Readonly<Partial<Record<AttributeName, string>>>;

/** Undefined children are left out. Links lead to places of this page only: an `href` begins with `#`. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value = ""] of Object.entries(attributes)) {
    if (name === "href" && !value.startsWith("#")) throw new Error("a link leads out of the page");
    element.setAttribute(name, shown(value));
  }
  fill(element, ...children);
  return element;
}

/** Replaces what is in it. */
export function fill(element: Element, ...children: readonly Child[]): void {
  element.replaceChildren(
    ...children.flatMap((child) => {
      if (child === undefined) return [];
      return [typeof child === "string" ? document.createTextNode(shown(child)) : child];
    }),
  );
}

/** An element of the page, by id. Throws where the page and its script do not belong together. */
export function byId<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no such #${id}`);
  return element;
}

export function button(text: string, onClick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const element = el("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", onClick);
  return element;
}

/** `true` becomes the attribute, `false` takes it away. */
export function show(element: HTMLElement, isShown: boolean): void {
  element.hidden = !isShown;
}
