/** The console: joins its parts, and leads from one to another by the part of the address behind `#`. */
import { createApi } from "./api.ts";
import { showDenialDetails } from "./denial-details.ts";
import { showDenialList } from "./denial-list.ts";
import { byId, fill, show } from "./dom.ts";
import { type LiveState, followDenials } from "./live.ts";
import { showPolicy } from "./policy-view.ts";
import { keepToken } from "./token.ts";
import { showTraffic } from "./traffic.ts";
import { showTryForm } from "./try-form.ts";

type View = "denials" | "policy" | "try";
const views: readonly View[] = ["denials", "policy", "try"];

const keeper = keepToken(() => {
  wake();
  follow(false);
});
const api = createApi(keeper.token, () => keeper.ask());
const list = showDenialList();
const details = showDenialDetails(api);
const policy = showPolicy(api);
const tryForm = showTryForm(api, go);
const live = followDenials({ api, onState: showState, onListing: list.setListing, onDenial: list.add });
const traffic = showTraffic(byId("charts", HTMLElement), api, (sample) => {
  fill(byId("version", HTMLElement), `${sample.version} · policy ${sample.hash}`);
  policy.setSample(sample, route().view === "policy");
});

/** Whose details are shown: where the focus goes back to when they are closed. */
let shownId = "";
/** The search is to have the focus once the list is seen. */
let isSearchWanted = false;

window.addEventListener("hashchange", () => follow(true));
document.addEventListener("visibilitychange", () => (document.hidden ? sleep() : wake()));
document.addEventListener("keydown", onKey);
byId("skip", HTMLAnchorElement).addEventListener("click", (event) => {
  // The part behind # is the place in this page, not of an element.
  event.preventDefault();
  byId("main", HTMLElement).focus();
});
follow(false);
if (!document.hidden) wake();

function wake(): void {
  live.wake();
  traffic.wake();
}

/** A page that nobody sees holds no connection: browsers have six for one server. */
function sleep(): void {
  live.sleep();
  traffic.sleep();
}

type Route = { readonly view: View; readonly id: string; readonly query: URLSearchParams };

/** `#/denials`, `#/denials/ID`, `#/policy`, `#/try?request=…` */
function route(): Route {
  const [path = "", query = ""] = location.hash.slice(1).split(/\?(.*)/s, 2);
  const [, name = "", id = ""] = path.split("/", 3);
  const view = views.find((one) => one === name) ?? "denials";
  return { view, id: view === "denials" ? decoded(id) : "", query: new URLSearchParams(query) };
}

function go(hash: string): void {
  location.hash = hash;
}

/** `isAsked` moves the focus: not when the page has just been opened. */
function follow(isAsked: boolean): void {
  const { view, id, query } = route();
  for (const one of views) show(byId(`view-${one}`, HTMLElement), one === view);
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.getAttribute("data-view") === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = id === "" ? "Sallyport" : `${id} · Sallyport`;
  const closed = shownId;
  shownId = id;
  list.select(id);
  details.open(id, isAsked);
  if (view === "policy") policy.open();
  if (view === "try") tryForm.open(query);
  if (isSearchWanted) list.focusSearch();
  else if (isAsked && view === "denials" && id === "" && closed !== "") list.focusOn(closed);
  isSearchWanted = false;
  if (isAsked && view === "policy") byId("policy-heading", HTMLElement).focus();
  if (isAsked && view === "try" && !query.has("request")) byId("try-heading", HTMLElement).focus();
}

function onKey(event: KeyboardEvent): void {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]"))
    return;
  const isTyping = target instanceof HTMLElement && target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    if (list.focusSearch()) return;
    isSearchWanted = true;
    go("#/denials");
  }
  if (event.key !== "Escape") return;
  // In a field, Escape empties or leaves it; elsewhere it closes what is open.
  if (isTyping) {
    if (target instanceof HTMLInputElement && target.value !== "") {
      event.preventDefault();
      target.value = "";
      target.dispatchEvent(new Event("input"));
    } else target.blur();
    return;
  }
  if (details.isOpen()) go("#/denials");
}

function showState(state: LiveState): void {
  const words = { connecting: "Connecting", live: "Live", asleep: "Asleep", lost: "Not connected" };
  const place = byId("state", HTMLElement);
  const problem = byId("problem", HTMLElement);
  place.className = state.kind === "live" ? "badge ok" : "badge would";
  if (place.textContent !== words[state.kind]) place.textContent = words[state.kind];
  if (state.kind === "live") show(problem, false);
  if (state.kind !== "lost") return;
  const text = `Denials are not followed: ${state.why}.`;
  if (problem.textContent !== text) fill(problem, text);
  show(problem, true);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
