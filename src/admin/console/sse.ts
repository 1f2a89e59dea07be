/** Server-sent events out of a stream of text (HTML standard, section 9.2.6). EventSource can send no token, and gives up at a 503. */

export type StreamEvent = { readonly name: string; readonly data: string };

/** More without an empty line is no event of ours. */
const maxEventLength = 1_000_000;

/** Takes text in any pieces; answers the events that are whole. Throws where one grows without end. */
export function createEventReader(): (text: string) => readonly StreamEvent[] {
  let rest = "";
  let name = "";
  let data: string[] = [];
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > maxEventLength) throw new Error("an event of the stream has no end");
    const events: StreamEvent[] = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (data.length > 0) events.push({ name: name === "" ? "message" : name, data: data.join("\n") });
        name = "";
        data = [];
        continue;
      }
      const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === "event") name = value;
      if (field === "data") data.push(value);
    }
    return events;
  };
}
