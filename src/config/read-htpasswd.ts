/** htpasswd files: a user and a bcrypt hash a line. Other hashes are refused: they can be guessed, or are the password. */
import type { Problem } from "./problem.ts";

/** Hashes by user name. */
export type HtpasswdUsers = ReadonlyMap<string, string>;

/** Below, `htpasswd -B` does not write; above, one comparison takes more than a second. */
const leastCost = 4;
const mostCost = 14;

/** Reads the text of a file. Hashes are never shown. */
export function readHtpasswd(path: string, text: string, problems: Problem[]): HtpasswdUsers {
  const users = new Map<string, string>();
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const colon = line.indexOf(":");
    const user = colon < 0 ? "" : line.slice(0, colon);
    const problem = (message: string): void => {
      const place = { file: path, line: i + 1, column: 1 };
      problems.push({ severity: "error", place, offending: user, message, instead: undefined });
    };
    // eslint-disable-next-line no-control-regex
    if (user === "" || user.length > 200 || /[\u0000-\u001f\u007f\ufffd]/.test(user)) {
      problem("is no user: the line has to be NAME:HASH, as htpasswd -B writes it");
      continue;
    }
    const hash = line.slice(colon + 1);
    const [, cost] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
    if (cost === undefined) problem(`has ${nameOf(hash)}: htpasswd -B FILE ${user} writes a bcrypt hash`);
    else if (Number(cost) < leastCost || Number(cost) > mostCost)
      problem(`has a bcrypt hash of cost ${Number(cost)}: from ${leastCost} to ${mostCost} is possible, 10 is usual`);
    else if (users.has(user)) problem("has a line above already");
    else users.set(user, hash);
  }
  return users;
}

function nameOf(hash: string): string {
  if (hash.startsWith("{SHA}")) return "an unsalted SHA-1 hash";
  if (hash.startsWith("$apr1$") || hash.startsWith("$1$")) return "an MD5 hash";
  if (/^\$[56]\$/.test(hash)) return "a crypt hash";
  if (hash.startsWith("$2")) return "a bcrypt hash that is not whole";
  return "no bcrypt hash";
}
