/** What the admin server answers, once a request is admitted. */
import { Hono } from "hono";
import type { PolicyView } from "./policy-view.ts";

export type AdminSources = {
  readonly metrics: { readonly render: () => Promise<string>; readonly contentType: string };
  /** Listening, with a valid policy, and not draining. */
  readonly isReady: () => boolean;
  readonly policy: () => PolicyView;
  /** Answers /api/explain; without it the path does not exist. */
  readonly explain?: (query: URLSearchParams) => unknown;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of faults in answering. */
  readonly onProblem?: (error: unknown) => void;
};

/** GET and HEAD only; whatever else is 404 or 405, in JSON. */
export function createRoutes({ metrics, isReady, policy, explain, now, onProblem }: AdminSources): Hono {
  const startedAtMs = now();
  const app = new Hono();
  app.get("/metrics", async (c) => c.body(await metrics.render(), 200, { "content-type": metrics.contentType }));
  app.get("/healthz", (c) => c.json({ status: "ok", uptime_seconds: Math.floor((now() - startedAtMs) / 1000) }));
  app.get("/readyz", (c) => (isReady() ? c.json({ status: "ready" }) : c.json({ status: "not_ready" }, 503)));
  app.get("/api/policy", (c) => c.json(policy()));
  if (explain !== undefined) {
    app.get("/api/explain", async (c) => c.json(await explain(new URL(c.req.url).searchParams)));
  }
  const paths = app.routes.map(({ path }) => path);
  for (const path of paths) {
    app.all(path, (c) => c.json({ error: "method_not_allowed", hint: "use GET or HEAD" }, 405, { allow: "GET, HEAD" }));
  }
  app.notFound((c) => c.json({ error: "not_found", hint: "there is no such endpoint" }, 404));
  app.onError((error, c) => {
    onProblem?.(error);
    return c.json({ error: "internal", hint: "see the log" }, 500);
  });
  return app;
}
