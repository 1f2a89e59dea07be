/** All parts of the fuzzing, ready to run, with their shares of the time. */
import { type SecureContext, createSecureContext } from "node:tls";
import { testAuthority, testLeaf } from "../support/tls-origin.ts";
import { authorityPart, requestTargetPart } from "./authority-part.ts";
import { captureClientHellos, clientHelloPart } from "./client-hello-part.ts";
import { startDifferential } from "./differential-part.ts";
import { requestHeadPart, responseHeadPart } from "./http-part.ts";
import type { FuzzPart } from "./part.ts";
import { policyPart, settingsPart } from "./policy-part.ts";
import { proxyHeaderPart } from "./proxy-header-part.ts";
import { rangePart } from "./range-part.ts";
import { captureServerFlights, serverHelloPart } from "./server-hello-part.ts";

export type ReadyPart = {
  readonly part: FuzzPart;
  /** Parts of a hundred. */
  readonly share: number;
  readonly stop: () => Promise<void>;
};

/** Each part by its name; started when asked for, and stopped by whoever asked. */
export const parts: ReadonlyMap<string, () => Promise<ReadyPart>> = new Map([
  ["client-hello", async () => ready(15, clientHelloPart(await tolerantServer(), await captureClientHellos()))],
  ["server-hello", async () => ready(8, serverHelloPart(await captureServerFlights()))],
  ["authority", () => Promise.resolve(ready(8, authorityPart()))],
  ["request-target", () => Promise.resolve(ready(7, requestTargetPart()))],
  ["range", () => Promise.resolve(ready(5, rangePart()))],
  ["proxy-header", () => Promise.resolve(ready(5, proxyHeaderPart()))],
  ["policy", () => Promise.resolve(ready(15, policyPart()))],
  ["settings", () => Promise.resolve(ready(4, settingsPart()))],
  ["request-head", () => Promise.resolve(ready(10, requestHeadPart()))],
  ["response-head", () => Promise.resolve(ready(10, responseHeadPart()))],
  ["differential", async () => ({ share: 33, ...(await startDifferential()) })],
]);

function ready(share: number, part: FuzzPart): ReadyPart {
  return { part, share, stop: () => Promise.resolve() };
}

/** Takes TLS 1.0 and every cipher suite: what it refuses, it refuses for another reason. */
export async function tolerantServer(): Promise<SecureContext> {
  const { cert, key } = await testLeaf(await testAuthority(), ["a.example.com"]);
  return createSecureContext({ cert, key, minVersion: "TLSv1", ciphers: "ALL:@SECLEVEL=0" });
}
