/** The admin server as most tests want it: on a free loopback port, open, with nothing behind it but metrics. */
import { type Admin, type AdminOptions, createAdmin } from "../../src/admin/server.ts";
import { createMetrics } from "../../src/record/metrics.ts";

/** Nothing listens before `listen`. */
export function adminWith(changes: Partial<AdminOptions> = {}): Admin {
  return createAdmin({
    address: { host: "127.0.0.1", port: 0 },
    names: [],
    token: undefined,
    metrics: createMetrics({ version: "1", nodeVersion: "20" }),
    isReady: () => true,
    policy: () => ({ hash: "", generation: 1, default_mode: "enforce", files: [], groups: [], rules: [] }),
    now: () => 0,
    ...changes,
  });
}
