/**
 * Who asks, by the credentials in Proxy-Authorization: the one place for tunnels and requests of all kinds. A comparison
 * costs about 100 ms, so what it said is remembered, whoever fails too often is not compared, and the same credentials
 * on many connections are compared once. What is remembered is a keyed hash: nobody's password stays in memory.
 */
import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type Address, blockText } from "../names/address.ts";
import { parseBasicCredentials } from "../wire/basic-credentials.ts";
import { type RawFields, fieldValues } from "../wire/fields.ts";
import type { ComparePassword } from "./passwords.ts";

export type Credentials =
  | { readonly kind: "user"; readonly name: string }
  /** None, wrong ones, or what cannot be read: 407. */
  | { readonly kind: "refused" }
  /** Not compared: the client has failed too often of late, or too many wait. 503. */
  | { readonly kind: "limited" };

/** At once where the answer is known. Never rejects. */
export type Authenticate = (fields: RawFields, client: Address) => Credentials | Promise<Credentials>;

export type AuthenticateOptions = {
  /** Bcrypt hashes by user. */
  readonly users: ReadonlyMap<string, string>;
  readonly compare: ComparePassword;
  /** Milliseconds that never go back. */
  readonly now: () => number;
};

const rememberedMs = 5 * 60 * 1000;
const refusedMs = 60 * 1000;
const maxRemembered = 10_000;
const maxRefused = 1_000;
/** Failures of one client: so many at once, and then one in so many milliseconds. */
const failuresAtOnce = 10;
const failureEveryMs = 6_000;
const maxClients = 10_000;

export function createAuthenticate({ users, compare, now }: AuthenticateOptions): Authenticate {
  const key = randomBytes(32);
  const clock = { perf: { now }, ttlResolution: 0 };
  const known = new LRUCache<string, Credentials>({ max: maxRemembered, ttl: rememberedMs, ...clock });
  const wrong = new LRUCache<string, Credentials>({ max: maxRefused, ttl: refusedMs, ...clock });
  /** When the client's last failure will be forgiven: each puts it off. */
  const debts = new LRUCache<string, number>({ max: maxClients, ttl: failuresAtOnce * failureEveryMs, ...clock });
  const running = new Map<string, Promise<Credentials>>();
  const nobody = hashOfNobody(users);

  const check = async (user: string, password: string, digest: string, client: string): Promise<Credentials> => {
    // Taken now and given back: who asks a hundred times at once has not failed yet, but may.
    debts.set(client, Math.max(debts.get(client) ?? 0, now()) + failureEveryMs);
    const hash = users.get(user);
    // An unknown user takes as long as a wrong password.
    const fits = await compare(password, hash ?? nobody);
    if (fits === true && hash !== undefined) {
      debts.set(client, (debts.get(client) ?? 0) - failureEveryMs);
      const found: Credentials = { kind: "user", name: user };
      known.set(digest, found);
      return found;
    }
    if (fits === undefined) {
      debts.set(client, (debts.get(client) ?? 0) - failureEveryMs);
      return limited;
    }
    wrong.set(digest, refused);
    return refused;
  };

  return (fields, address) => {
    const [value, more] = fieldValues(fields, "proxy-authorization");
    if (value === undefined || more !== undefined) return refused;
    const digest = createHmac("sha256", key).update(value).digest("base64");
    const remembered = known.get(digest) ?? wrong.get(digest) ?? running.get(digest);
    if (remembered !== undefined) return remembered;
    const credentials = parseBasicCredentials(value);
    if (credentials === undefined) return refused;
    const client = networkOf(address);
    if ((debts.get(client) ?? 0) - now() > (failuresAtOnce - 1) * failureEveryMs) return limited;
    const checked = check(credentials.user, credentials.password, digest, client).finally(() => running.delete(digest));
    running.set(digest, checked);
    return checked;
  };
}

const refused: Credentials = { kind: "refused" };
const limited: Credentials = { kind: "limited" };

/** A client of IPv6 has a whole /64 to come from. */
function networkOf(address: Address): string {
  return address.family === 4 ? address.text : blockText(address, 64);
}

/** A hash that nothing fits, as dear as the dearest of the file. */
function hashOfNobody(users: ReadonlyMap<string, string>): string {
  const costs = [...users.values()].map((hash) => hash.slice(4, 6)).sort();
  return `$2b$${costs.at(-1) ?? "10"}$${"nobody".padEnd(53, ".")}`;
}
