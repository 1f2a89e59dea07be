/** The list of denials: filtered, kept current, and quiet for whoever reads it by ear or with the keyboard. */
import { type Denial, type Filter, askedText, keyOf, matches } from "./denial.ts";
import { byId, el, fill, show } from "./dom.ts";
import type { Listing } from "./live.ts";
import { agoText, counted, instantText } from "./shown.ts";

export type DenialList = {
  readonly setListing: (listing: Listing) => void;
  readonly add: (denial: Denial) => void;
  /** Marks the one whose details are shown; empty is none. */
  readonly select: (id: string) => void;
  /** Puts the focus on the row of this id, or else on the search. */
  readonly focusOn: (id: string) => void;
  /** False where the list is not seen. */
  readonly focusSearch: () => boolean;
};

const pageSize = 200;
/** Between two announcements, so that a storm of denials does not drown a screen reader. */
const quietMs = 5_000;
const tickMs = 1_000;

export function showDenialList(): DenialList {
  const rows = byId("rows", HTMLTableSectionElement);
  const search = byId("search", HTMLInputElement);
  const reason = byId("reason", HTMLSelectElement);
  const kind = byId("kind", HTMLSelectElement);
  const pause = byId("pause", HTMLButtonElement);
  const more = byId("more", HTMLButtonElement);
  const summary = byId("summary", HTMLElement);
  const empty = byId("empty", HTMLElement);
  const announce = createAnnouncer(byId("announcer", HTMLElement));

  /** The one seen last comes last. */
  let known = new Map<string, Denial>();
  /** What came in while the list was paused. */
  const held = new Map<string, Denial>();
  const drawn = new Map<string, { readonly denial: Denial; readonly row: HTMLTableRowElement }>();
  let listing: Listing | undefined;
  let limit = pageSize;
  let selected = "";
  let isPaused = false;
  let isDue = false;
  /** False until the first list is drawn: what was there before is not new. */
  let isLive = false;

  const filter = (): Filter => ({
    search: search.value,
    reason: reason.value,
    kind: kind.value === "deny" || kind.value === "would" ? kind.value : "all",
  });

  const draw = (): void => {
    isDue = false;
    const wanted = filter();
    const all = [...known.values()].reverse();
    const found = all.filter((denial) => matches(denial, wanted));
    const focused = document.activeElement;
    const shownRows = found.slice(0, limit).map((denial) => {
      const key = keyOf(denial);
      const before = drawn.get(key);
      const row = before?.denial === denial ? before.row : rowOf(denial);
      drawn.set(key, { denial, row });
      row.classList.toggle("selected", denial.id === selected);
      row.classList.toggle("fresh", isLive && before?.denial !== denial);
      return row;
    });
    const focusedId = focused instanceof HTMLAnchorElement && rows.contains(focused) ? focused.hash : "";
    rows.replaceChildren(...shownRows);
    if (focusedId !== "") linkTo(rows, focusedId)?.focus({ preventScroll: true });
    const keys = new Set(found.slice(0, limit).map(keyOf));
    for (const key of drawn.keys()) if (!keys.has(key)) drawn.delete(key);
    drawReasons(reason, all);
    fill(summary, summaryText(found.length, all.length, listing, held.size));
    show(more, found.length > limit);
    show(empty, found.length === 0 && listing !== undefined);
    empty.textContent = all.length === 0 ? "Nothing was denied." : "No denial matches.";
    isLive = listing !== undefined;
  };
  const drawSoon = (): void => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(draw);
  };

  const keep = (denial: Denial): void => {
    const key = keyOf(denial);
    if (!known.has(key)) announce(denial);
    known.delete(key);
    known.set(key, denial);
    // As many as the proxy keeps.
    const [oldest] = known.keys();
    if (listing !== undefined && known.size > Math.max(listing.capacity, 1) && oldest !== undefined)
      known.delete(oldest);
  };

  for (const input of [search, reason, kind]) {
    input.addEventListener("input", () => {
      limit = pageSize;
      drawSoon();
    });
  }
  byId("filter", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    rows.querySelector("a")?.focus();
  });
  more.addEventListener("click", () => {
    limit += pageSize;
    drawSoon();
  });
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    pause.textContent = isPaused ? "Go on" : "Pause";
    for (const denial of held.values()) keep(denial);
    held.clear();
    drawSoon();
  });
  // The whole row is a target for the mouse; for everybody else there is the link in it.
  rows.addEventListener("click", (event) => {
    const { target } = event;
    if (!(target instanceof Element) || target.closest("a") !== null || getSelection()?.isCollapsed === false) return;
    target.closest("tr")?.querySelector("a")?.click();
  });
  rows.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    const links = [...rows.querySelectorAll("a")];
    const next = links[links.findIndex((link) => link === document.activeElement) + step];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
  setInterval(() => {
    for (const { denial, row } of drawn.values()) {
      const time = row.querySelector("time");
      if (time !== null) time.textContent = agoText(Date.now() - Date.parse(denial.lastSeen));
    }
  }, tickMs);

  return {
    setListing(next) {
      listing = next;
      known = new Map(next.denials.toReversed().map((denial) => [keyOf(denial), denial]));
      held.clear();
      drawSoon();
    },
    add(denial) {
      if (isPaused) held.set(keyOf(denial), denial);
      else keep(denial);
      drawSoon();
    },
    select(id) {
      selected = id;
      drawSoon();
    },
    focusOn: (id) => (linkTo(rows, `#/denials/${id}`) ?? search).focus(),
    focusSearch() {
      search.focus();
      search.select();
      return document.activeElement === search;
    },
  };
}

function rowOf(denial: Denial): HTMLTableRowElement {
  const { id, reason, would, group, client, clients, otherClients, count, lastSeen, sni, host, nearest } = denial;
  const others = clients.length - 1 + otherClients;
  return el(
    "tr",
    would ? { class: "would" } : {},
    el(
      "td",
      {},
      el("time", { datetime: lastSeen, title: instantText(lastSeen) }, agoText(Date.now() - Date.parse(lastSeen))),
    ),
    el(
      "td",
      { class: "text" },
      el("a", { href: `#/denials/${encodeURIComponent(id)}` }, askedText(denial)),
      sni === "" || sni === host ? undefined : el("span", { class: "muted" }, ` SNI ${sni}`),
    ),
    el(
      "td",
      {},
      el("span", { class: would ? "badge would" : "badge deny", title: nearest }, reason),
      would ? el("span", { class: "would-note" }, " would be denied") : undefined,
    ),
    el(
      "td",
      { class: "text client" },
      client,
      group === "_none" ? "" : ` (${group})`,
      others > 0 ? ` and ${others} more` : "",
    ),
    el("td", { class: "number" }, count.toLocaleString("en")),
    el("td", { class: "id" }, id),
  );
}

function linkTo(rows: Element, hash: string): HTMLAnchorElement | undefined {
  return [...rows.querySelectorAll("a")].find((link) => link.hash === hash);
}

/** The choice stays, also where nothing has this reason any more. */
function drawReasons(select: HTMLSelectElement, denials: readonly Denial[]): void {
  const wanted = [...new Set([...denials.map(({ reason }) => reason), select.value])].filter(Boolean).sort();
  const there = [...select.options].map(({ value }) => value).filter(Boolean);
  if (wanted.join() === there.join()) return;
  const chosen = select.value;
  fill(select, el("option", { value: "" }, "all"), ...wanted.map((reason) => el("option", { value: reason }, reason)));
  select.value = chosen;
}

function summaryText(found: number, all: number, listing: Listing | undefined, held: number): string {
  if (listing === undefined) return "";
  const causes = found === all ? counted(all, "cause") : `${found} of ${counted(all, "cause")}`;
  const full = all >= listing.capacity ? `; only the last ${listing.capacity} are kept` : "";
  const waiting = held === 0 ? "" : `; paused, ${counted(held, "cause")} seen meanwhile`;
  return `${causes} since ${instantText(listing.since)}${full}${waiting}`;
}

/** Tells of new causes, the latest by name, and of how many there were since it last spoke. */
function createAnnouncer(place: HTMLElement): (denial: Denial) => void {
  let waiting = 0;
  let latest: Denial | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const speak = (): void => {
    timer = undefined;
    if (latest === undefined) return;
    const { host, reason, would } = latest;
    const what = `${host === "" ? "an unreadable request" : host}, ${reason}${would ? ", would be denied" : ""}`;
    fill(place, waiting === 1 ? `New denial: ${what}` : `${waiting} new denials, the latest: ${what}`);
    waiting = 0;
    latest = undefined;
    timer = setTimeout(speak, quietMs);
  };
  return (denial) => {
    waiting++;
    latest = denial;
    timer ??= setTimeout(speak, 500);
  };
}
