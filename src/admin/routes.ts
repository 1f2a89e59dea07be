/** What the admin server answers, once a request is admitted. */
import { type Context, Hono } from "hono";
import type { ConsoleFile } from "./console-page.ts";
import { type ApiAnswer, answerAllow, answerDenial, answerWhy } from "./denial-answers.ts";
import type { DenialSources } from "./denial-proposal.ts";
import { answerDenials, answerExplain, answerTop } from "./denial-lists.ts";
import { createDenialStreams } from "./denial-stream.ts";
import type { ReloadReport } from "../reload/report.ts";
import type { PolicyView } from "./policy-view.ts";
import { answerReload } from "./reload-view.ts";

export type AdminSources = {
  readonly metrics: { readonly render: () => Promise<string>; readonly contentType: string };
  /** Listening, with a valid policy, and not draining. */
  readonly isReady: () => boolean;
  readonly policy: () => PolicyView;
  /** What is behind POST /-/reload; without it there is no such endpoint. */
  readonly reload?: () => Promise<ReloadReport>;
  /** What is behind all of /api/ but the policy; without it these paths do not exist. */
  readonly denials?: Omit<DenialSources, "now">;
  /** The page for people; without it there is none. */
  readonly console?: readonly ConsoleFile[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of faults in answering. */
  readonly onProblem?: (error: unknown) => void;
};

/** GET and HEAD only, but for the reload; whatever else is 404 or 405, in JSON. */
export function createRoutes(sources: AdminSources, keepAliveMs: number): Hono {
  const { metrics, isReady, policy, reload, denials, console: page = [], now, onProblem } = sources;
  const startedAtMs = now();
  const app = new Hono();
  app.get("/metrics", async (c) => c.body(await metrics.render(), 200, { "content-type": metrics.contentType }));
  app.get("/healthz", (c) => c.json({ status: "ok", uptime_seconds: Math.floor((now() - startedAtMs) / 1000) }));
  app.get("/readyz", (c) => (isReady() ? c.json({ status: "ready" }) : c.json({ status: "not_ready" }, 503)));
  app.get("/api/policy", (c) => c.json(policy()));
  if (denials !== undefined) addDenials(app, { ...denials, now }, isReady, keepAliveMs);
  for (const { path, bytes, headers } of page) app.get(path, (c) => c.body(bytes, 200, headers));
  const paths = app.routes.map(({ path }) => path);
  for (const path of paths) {
    app.all(path, (c) => c.json({ error: "method_not_allowed", hint: "use GET or HEAD" }, 405, { allow: "GET, HEAD" }));
  }
  if (reload !== undefined) addReload(app, reload);
  app.notFound((c) => c.json({ error: "not_found", hint: "there is no such endpoint" }, 404));
  app.onError((error, c) => {
    onProblem?.(error);
    return c.json({ error: "internal", hint: "see the log" }, 500);
  });
  return app;
}

/** The one endpoint that changes something, and so the one that is asked by POST. */
function addReload(app: Hono, reload: () => Promise<ReloadReport>): void {
  app.post(reloadPath, async (c) => {
    const { status, body } = answerReload(await reload());
    return c.json(body, status);
  });
  app.all(reloadPath, (c) => c.json({ error: "method_not_allowed", hint: "use POST" }, 405, { allow: "POST" }));
}

const reloadPath = "/-/reload";

function addDenials(app: Hono, sources: DenialSources, isReady: () => boolean, keepAliveMs: number): void {
  const streams = createDenialStreams({ denials: sources.denials, isOver: () => !isReady(), keepAliveMs });
  app.get("/api/denials", (c) => reply(c, answerDenials(sources, queryOf(c))));
  app.get("/api/denials/stream", (c) => {
    const headers = { "content-type": "text/event-stream" };
    // Nobody reads the body of an answer to HEAD, nor tells it to end.
    if (c.req.method === "HEAD") return c.body(null, 200, headers);
    const stream = streams.open();
    if (stream === undefined) {
      return c.json({ error: "unavailable", hint: "the proxy drains, or too many read the stream" }, 503);
    }
    return c.body(stream, 200, headers);
  });
  app.get("/api/denials/:id", async (c) => reply(c, await answerDenial(sources, c.req.param("id"), queryOf(c))));
  app.get("/api/why", async (c) => reply(c, await answerWhy(sources, queryOf(c))));
  app.get("/api/allow", async (c) => reply(c, await answerAllow(sources, queryOf(c))));
  app.get("/api/top", (c) => reply(c, answerTop(sources, queryOf(c))));
  app.get("/api/explain", (c) => reply(c, answerExplain(sources, queryOf(c))));
}

/** Text for whoever asks for nothing else, as the command line does. */
function reply(c: Context, { status, body, text }: ApiAnswer): Response {
  return text !== undefined && c.req.header("accept") === "text/plain" ? c.text(text, status) : c.json(body, status);
}

function queryOf(c: Context): URLSearchParams {
  return new URL(c.req.url).searchParams;
}
