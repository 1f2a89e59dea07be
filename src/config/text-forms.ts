/** Forms that a text can be asked to have: the pattern, the words when it has not, and what was probably meant. */
import { domainToASCII } from "node:url";
import { durationPattern, formatDuration, parseDuration, sizePattern } from "./units.ts";

export type TextFormName = "kebab" | "duration" | "size" | "date" | "endpoint" | "variable" | "pseudonym" | "hostname";

export type TextForm = {
  readonly pattern: RegExp;
  /** Completes the sentence "TEXT …". */
  readonly message: string;
  /** From the source text, quotes and all; what it answers may still lack the form. */
  readonly guess: (text: string) => string | undefined;
};

/** Schemas give the name of a form as their `error`. */
export const textForms: Readonly<Record<TextFormName, TextForm>> = {
  kebab: {
    pattern: /^[a-z0-9]+(-[a-z0-9]+)*$/,
    message: "is no kebab-case name: lower-case letters, digits, and single hyphens between them",
    guess: kebab,
  },
  duration: {
    pattern: durationPattern,
    message: "is no duration: a whole number with a unit (ms, s, m or h)",
    guess: suggestDuration,
  },
  size: {
    pattern: sizePattern,
    message: "is no size: a whole number with a unit (B, KiB or MiB)",
    guess: suggestSize,
  },
  date: {
    pattern: /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/,
    message: "is no day: YYYY-MM-DD is needed",
    guess: suggestDate,
  },
  endpoint: {
    pattern: /^(https?(:[1-9]\d{0,4})?|tcp:[1-9]\d{0,4})$/,
    message: "is no endpoint: http, https, http:PORT, https:PORT or tcp:PORT is needed",
    guess: suggestEndpoint,
  },
  variable: {
    pattern: /^[a-z][a-z0-9]*([_-][a-z0-9]+)*$/,
    message: "is no parameter name: lower-case letters, digits, hyphens and underscores",
    guess: kebab,
  },
  pseudonym: {
    // RFC 9110 section 5.6.2, token.
    pattern: /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/,
    message: "is no pseudonym for Via: letters, digits and hyphens, at most 64",
    guess: kebab,
  },
  hostname: {
    pattern: /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$/,
    message: "is no host name",
    guess: (text) => nonEmpty(domainToASCII(unquoted(text))),
  },
};

/** The form of that name, or undefined for any other text. */
export function textForm(name: string): TextForm | undefined {
  return Object.entries(textForms).find(([known]) => known === name)?.[1];
}

/** What was probably meant by a text that lacks the form; undefined where nothing is evident. */
export function suggestForm(form: TextForm, text: string): string | undefined {
  const guess = form.guess(text);
  return guess !== undefined && form.pattern.test(guess) ? guess : undefined;
}

function kebab(text: string): string | undefined {
  const spaced = unquoted(text)
    .replace(/([a-z0-9])([A-Z])/g, "$1-$2")
    .toLowerCase();
  return nonEmpty(spaced.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, ""));
}

const durationUnits: Readonly<Record<string, string>> = {
  "": "s",
  sec: "s",
  secs: "s",
  second: "s",
  seconds: "s",
  min: "m",
  mins: "m",
  minute: "m",
  minutes: "m",
  hour: "h",
  hours: "h",
  hr: "h",
};

function suggestDuration(text: string): string | undefined {
  const [, number = "", unit = ""] = /^(\d+)\s*([a-z]*)$/.exec(unquoted(text).toLowerCase()) ?? [];
  if (number === "") return undefined;
  if (/^d(ays?)?$/.test(unit)) return `${Number(number) * 24}h`;
  const ms = parseDuration(`${Number(number)}${durationUnits[unit] ?? unit}`);
  return ms === undefined ? undefined : formatDuration(ms);
}

const sizeUnits: Readonly<Record<string, string>> = {
  "": "B",
  b: "B",
  k: "KiB",
  kb: "KiB",
  kib: "KiB",
  m: "MiB",
  mb: "MiB",
  mib: "MiB",
};

function suggestSize(text: string): string | undefined {
  const [, number = "", unit = ""] = /^(\d+)\s*([a-z]*)$/.exec(unquoted(text).toLowerCase()) ?? [];
  const known = sizeUnits[unit];
  return number === "" || known === undefined ? undefined : `${Number(number)}${known}`;
}

function suggestDate(text: string): string | undefined {
  const bare = unquoted(text);
  const [, year = "", month = "", day = ""] = /^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})/.exec(bare) ?? [];
  // Only the order year, month, day is beyond doubt.
  const date = `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  return year !== "" && textForms.date.pattern.test(date) ? date : undefined;
}

function suggestEndpoint(text: string): string | undefined {
  const bare = unquoted(text).toLowerCase().trim();
  const [, scheme = "", port = ""] = /^(https?|tcp|tls|ssl)?\s*(?:[:/]\/?\s*)?(\d+)?$/.exec(bare) ?? [];
  if (scheme === "" && port === "") return undefined;
  if (scheme === "" && port === "80") return "http";
  if (scheme === "" || scheme === "tls" || scheme === "ssl")
    return port === "443" || port === "" ? "https" : `https:${port}`;
  if (scheme === "tcp") return port === "" ? undefined : `tcp:${port}`;
  return port === "" ? scheme : `${scheme}:${port}`;
}

function unquoted(text: string): string {
  return text.replace(/^(["'])(.*)\1$/, "$2");
}

function nonEmpty(text: string): string | undefined {
  return text === "" ? undefined : text;
}
