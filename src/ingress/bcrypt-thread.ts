/** Runs in a thread of its own: compares passwords with bcrypt hashes, which would hold up every connection for 100 ms. */
import { parentPort } from "node:worker_threads";
import { compareSync, truncates } from "bcryptjs";

/** One question; the answer has its number. */
export type Question = { readonly id: number; readonly password: string; readonly hash: string };
export type Answer = { readonly id: number; readonly fits: boolean };

parentPort?.on("message", ({ id, password, hash }: Question) => {
  // Two passwords that begin with the same 72 bytes are not the same password.
  const answer: Answer = { id, fits: compareSync(password, hash) && !truncates(password) };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(answer);
});
