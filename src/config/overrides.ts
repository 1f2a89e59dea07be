/** Flags and `SALLYPORT_…` variables, which override single keys of the file. */
import type { Place } from "../policy/rule.ts";
import type { Problem } from "./problem.ts";
import { parseListenAddress } from "./read-address.ts";
import type { SettingsReading } from "./read-settings.ts";
import type { ListenAddress, ListenerSettings, Settings } from "./settings.ts";
import { suggest } from "./suggest.ts";

/** What the command line said; undefined where it said nothing. Paths are relative to the working directory. */
export type Flags = {
  readonly listen?: readonly string[] | undefined;
  readonly admin?: string | undefined;
  readonly policy?: readonly string[] | undefined;
};

/** The variables that are read, and nothing else of the environment. Lists are parted by commas; an empty one is not set. */
const variables = {
  SALLYPORT_LISTEN: "addresses of the proxy listeners, in place of listen",
  SALLYPORT_ADMIN: "admin.address",
  SALLYPORT_POLICY: "site policies, in place of policy",
  SALLYPORT_LOG_LEVEL: "log.level",
  SALLYPORT_LOG_FILE: "log.file",
} as const;

const logLevels = ["debug", "info", "warn", "error"] as const;

/** The settings with what flags and environment say instead; what is wrong with them is added to `problems`. */
export function applyOverrides(
  reading: SettingsReading,
  flags: Flags,
  env: Readonly<Record<string, string | undefined>>,
  problems: Problem[],
): SettingsReading {
  const { settings } = reading;
  const level = variable(env, "SALLYPORT_LOG_LEVEL");
  const knownLevel = logLevels.find((known) => known === level);
  if (level !== undefined && knownLevel === undefined) {
    problems.push(
      problemOutside(
        "SALLYPORT_LOG_LEVEL",
        level,
        `is no level: one of ${logLevels.join(", ")}`,
        suggest(level, logLevels),
      ),
    );
  }
  const listen = readListen(
    chosen("--listen", flags.listen, "SALLYPORT_LISTEN", listOf(env, "SALLYPORT_LISTEN")),
    problems,
  );
  const adminText = flags.admin ?? variable(env, "SALLYPORT_ADMIN");
  const [admin] = readListen(chosen("--admin", single(flags.admin), "SALLYPORT_ADMIN", single(adminText)), problems);
  const policy = flags.policy ?? listOf(env, "SALLYPORT_POLICY") ?? settings.policy;
  const log = {
    ...settings.log,
    level: knownLevel ?? settings.log.level,
    file: variable(env, "SALLYPORT_LOG_FILE") ?? settings.log.file,
  };
  const proxies = settings.listen.filter(({ kind }) => kind === "proxy");
  const overridden: Settings = {
    ...settings,
    listen:
      listen.length === 0
        ? settings.listen
        : [
            ...listen.map((address, i) => ({ ...likeListener(proxies, i), address })),
            ...settings.listen.filter(({ kind }) => kind !== "proxy"),
          ],
    admin: admin === undefined ? settings.admin : { ...settings.admin, address: admin },
    policy,
    log,
  };
  return { ...reading, settings: overridden };
}

/** An address overrides an address, and nothing else: the file's listeners in their order, and then like its last. */
function likeListener(listeners: readonly ListenerSettings[], i: number): Omit<ListenerSettings, "address"> {
  return listeners[i] ?? listeners.at(-1) ?? plainListener;
}

const plainListener = {
  kind: "proxy",
  clients: null,
  port: 443,
  tls: undefined,
  proxyProtocol: null,
  auth: undefined,
} as const;

type Chosen = { readonly name: string; readonly texts: readonly string[] };

function chosen(
  flag: string,
  flagTexts: readonly string[] | undefined,
  name: string,
  texts: readonly string[] | undefined,
): Chosen {
  return flagTexts !== undefined && flagTexts.length > 0
    ? { name: flag, texts: flagTexts }
    : { name, texts: texts ?? [] };
}

function readListen({ name, texts }: Chosen, problems: Problem[]): ListenAddress[] {
  return texts.flatMap((text) => {
    const reading = parseListenAddress(text);
    if (reading.kind === "value") return [reading.value];
    problems.push(problemOutside(name, text, reading.message, reading.instead));
    return [];
  });
}

function variable(env: Readonly<Record<string, string | undefined>>, name: keyof typeof variables): string | undefined {
  const text = env[name]?.trim();
  return text === "" ? undefined : text;
}

function listOf(env: Readonly<Record<string, string | undefined>>, name: keyof typeof variables): string[] | undefined {
  const texts = variable(env, name)
    ?.split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
  return texts === undefined || texts.length === 0 ? undefined : texts;
}

function single(text: string | undefined): string[] | undefined {
  return text === undefined ? undefined : [text];
}

function problemOutside(name: string, offending: string, message: string, instead: string | undefined): Problem {
  const place: Place = { file: name, line: 0, column: 0 };
  return { severity: "error", place, offending, message, instead };
}
