/** The files of the console as the admin server of a build answers them: to whom, with what policy, and nothing beside them. */
import { readdirSync } from "node:fs";
import { request } from "node:http";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { readConsole } from "../../src/admin/console-page.ts";
import type { Admin, AdminOptions } from "../../src/admin/server.ts";
import { adminWith } from "../support/admin.ts";

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const sources = fileURLToPath(new URL("../../src/admin/console/", import.meta.url));
const built = fileURLToPath(new URL("../../dist/admin/console/", import.meta.url));

const running: Admin[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((admin) => admin.close()));
});

async function start(changes: Partial<AdminOptions> = {}): Promise<number> {
  const admin = adminWith({ console: readConsole(), ...changes });
  running.push(admin);
  return admin.listen();
}

type Answer = {
  readonly status: number | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly body: string;
};

function ask(port: number, path: string, host = "127.0.0.1", method = "GET"): Promise<Answer> {
  return new Promise((fulfil, reject) => {
    request({ port, path, method, headers: { host }, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      response.once("end", () => fulfil({ status: response.statusCode, fields: response.headers, body }));
    })
      .once("error", reject)
      .end();
  });
}

describe("the page", () => {
  test("has a policy that admits files of this server only, and nothing inline", async () => {
    const port = await start();
    const { status, fields, body } = await ask(port, "/");
    expect(status).toBe(200);
    expect(fields).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
    });
    expect(body).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?:/);
    const named = Array.from(body.matchAll(/(?:src|href)="([^"#][^"]*)"/g), ([, path = ""]) => path);
    expect(named).toEqual(["console/icon.svg", "console/console.css", "console/main.js"]);
  });

  test("comes with every file of the build, and no other", async () => {
    const wanted = readdirSync(sources)
      .filter((name) => !name.endsWith("tsconfig.json"))
      .map((name) => name.replace(/\.ts$/, ".js"));
    expect(
      readdirSync(built)
        .filter((name) => !name.endsWith(".map"))
        .sort(),
    ).toEqual(wanted.sort());
  });

  test("files have their type and the same policy; the API keeps its own, which admits nothing", async () => {
    const port = await start();
    expect((await ask(port, "/console/console.css")).fields).toMatchObject({
      "content-type": "text/css; charset=utf-8",
      "content-security-policy": policy,
    });
    expect((await ask(port, "/console/icon.svg")).fields["content-type"]).toBe("image/svg+xml");
    const api = await ask(port, "/api/policy");
    expect(api.fields["content-security-policy"]).toBe("default-src 'none'; frame-ancestors 'none'");
  });

  test.each([
    "/console",
    "/console/",
    "/console/../gate.ts",
    "/console/%2e%2e/gate.ts",
    "/console/tsconfig.json",
    "/index.html",
  ])("%s is 404", async (path) => {
    expect((await ask(await start(), path)).status).toBe(404);
  });

  test("is only read", async () => {
    expect((await ask(await start(), "/", "localhost", "POST")).status).toBe(405);
    expect(await ask(await start(), "/", "localhost", "HEAD")).toMatchObject({ status: 200, body: "" });
  });
});

describe("the gate", () => {
  test.each(["/", "/console/console.css"])("%s wants an address as Host, like the API", async (path) => {
    expect((await ask(await start(), path, "evil.example")).status).toBe(421);
  });

  test.each([undefined, "a-token"])(
    "beyond loopback the page comes without a token, and no data does (%s)",
    async (token) => {
      const port = await start({ address: { host: "0.0.0.0", port: 0 }, token });
      expect((await ask(port, "/")).status).toBe(200);
      expect((await ask(port, "/console/console.css")).status).toBe(200);
      const refused = token === undefined ? 403 : 401;
      // What routes a request reads some of these as /api/policy.
      const others = ["/api/policy", "/other", "//", "/console", "/console/"].concat(
        [
          "../api/policy",
          "%2e%2e/api/policy",
          "..%2fapi/policy",
          "..\\api\\policy",
          "x/../../api/policy",
          "./main.js",
        ].map((path) => `/console/${path}`),
      );
      for (const path of others) expect([path, (await ask(port, path)).status]).toEqual([path, refused]);
      expect((await ask(port, "/", "evil.example")).status).toBe(421);
    },
  );
});
