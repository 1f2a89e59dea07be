/**
 * The steps of the Dockerfile, without a container engine: its stages are carried out in directories (`npm ci` is a copy of
 * what is installed), and the result runs as its user, as process 1, with every file system read-only.
 */
import { execFile, spawnSync } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Stage, execForm, readDockerfile } from "../support/dockerfile.ts";
import { type ServeProcess, startServe, writeConfiguration } from "../support/serve-process.ts";
import { describeUnless, missingOf } from "../support/tools.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const directory = `${root}deploy/container/`;
const stages = readDockerfile(await readFile(`${directory}Dockerfile`, "utf8"));
const [build, final] = stages as [Stage, Stage];
const ignore = (await readFile(`${directory}Dockerfile.dockerignore`, "utf8"))
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"));

/** Where the base image has it. */
const node = "usr/local/bin/node";

/** A mount namespace in which nothing can be written, and a process namespace: as much of a container as this needs. */
const isolated = [
  "unshare",
  "--mount",
  "--pid",
  "--fork",
  "--kill-child",
  "sh",
  "-c",
  'mount --make-rprivate / && for at in $(awk \'$2 !~ "^/(proc|sys|dev)" { print $2 }\' /proc/self/mounts); do mount -o remount,bind,ro "$at" || exit 9; done && mount -t proc proc /proc && exec "$0" "$@"',
];

/** Undefined where this machine lets us be as much of a container. */
function lackingToIsolate(): string | undefined {
  const missing = missingOf(["unshare", "setpriv"]);
  if (missing !== undefined) return missing;
  if (process.getuid?.() !== 0) return "root";
  const tried = spawnSync(isolated[0]!, [...isolated.slice(1), "setpriv", "true"]);
  return tried.status === 0 ? undefined : "the right to make mount and process namespaces";
}

describe("the Dockerfile", () => {
  test("has two stages, and the last one runs nothing as root", () => {
    expect(stages.map(({ name }) => name)).toEqual(["build", undefined]);
    expect(final.instructions.findLast(({ word }) => word === "USER")?.text).toMatch(/^[1-9]\d+:[1-9]\d+$/);
    const afterUser = final.instructions.slice(final.instructions.findIndex(({ word }) => word === "USER"));
    expect(afterUser.map(({ word }) => word)).not.toContain("RUN");
  });

  test("takes nothing from the repository that its ignore file leaves out", () => {
    expect(ignore[0]).toBe("*");
    for (const stage of stages) {
      for (const source of copiesOf(stage).flatMap((copy) => (copy.from === undefined ? copy.sources : [])))
        expect(ignore.map((line) => line.slice(1))).toContain(source);
    }
  });

  test("exposes the default ports, and looks after the process's health without a shell", () => {
    expect(final.instructions.find(({ word }) => word === "EXPOSE")?.text).toBe("3128 9180");
    expect(execForm(final, "HEALTHCHECK")).toEqual(["node", "/opt/sallyport/healthcheck.mjs"]);
  });
});

describe("the image that its steps make", () => {
  let image = "";
  let configuration = "";

  beforeAll(async () => {
    image = await carryOut();
    configuration = await writeConfiguration({ workers: 2 });
    await chmod(configuration, 0o755);
  }, 180_000);

  afterAll(async () => {
    if (image !== "") await rm(image, { recursive: true, force: true });
    if (configuration !== "") await rm(configuration, { recursive: true, force: true });
  });

  test("has the packages that the lock file calls production, and no other", async () => {
    const lock = JSON.parse(await readFile(`${root}package-lock.json`, "utf8")) as {
      packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean }>;
    };
    const shipped = Object.entries(lock.packages).flatMap(([path, { dev, devOptional, optional }]) =>
      path === "" || dev === true || devOptional === true || optional === true ? [] : [path],
    );
    const modules = join(image, "opt/sallyport/node_modules");
    const found = (await readdir(modules)).flatMap(async (name) =>
      name.startsWith(".")
        ? []
        : name.startsWith("@")
          ? (await readdir(join(modules, name))).map((part) => `node_modules/${name}/${part}`)
          : [`node_modules/${name}`],
    );
    expect((await Promise.all(found)).flat().toSorted()).toEqual(
      shipped.filter((path) => path.split("node_modules/").length === 2).toSorted(),
    );
  });

  test("says its version, and what a wrong command is", async () => {
    const [program = "", ...entry] = entryPoint(image);
    const { stdout } = await run(program, [...entry, "version"]);
    expect(stdout).toMatch(/^sallyport \d/);
  });

  describeUnless(lackingToIsolate(), "as its user, as process 1, with nothing to write to", () => {
    let serve: ServeProcess;

    beforeAll(async () => {
      const [uid = "", gid = ""] = final.instructions.findLast(({ word }) => word === "USER")!.text.split(":");
      const [, ...serveArguments] = [...execForm(final, "CMD").slice(0, 2), join(configuration, "sallyport.yaml")];
      const asUser = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--no-new-privs"];
      const none = ["--bounding-set=-all", "--inh-caps=-all"];
      const command = [...isolated, ...asUser, ...none, ...entryPoint(image), "serve", ...serveArguments];
      serve = await startServe(command, configuration);
    });

    afterAll(() => {
      serve?.process.kill("SIGKILL");
    });

    test("is healthy, by its own check, and it is not where nobody answers", async () => {
      const check = join(image, "opt/sallyport/healthcheck.mjs");
      const askAt = (address: string): Promise<unknown> =>
        run(join(image, node), [check], { env: { SALLYPORT_ADMIN: address } });
      await askAt(`0.0.0.0:${serve.adminPort}`);
      await expect(askAt("127.0.0.1:1")).rejects.toMatchObject({ code: 1 });
    });

    test("runs as that user and without a capability", async () => {
      const pid = await innermost(serve.process.pid!);
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      expect(status).toMatch(/^Uid:\s+10001\s+10001/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^NSpid:\s+\d+\s+1$/m);
    });

    test("ends by SIGTERM to process 1, with 0", async () => {
      process.kill(await innermost(serve.process.pid!), "SIGTERM");
      expect(await serve.exited).toBe(0);
      await expect.poll(serve.stderr).toContain("draining");
    });
  });
});

type Copy = { readonly from: string | undefined; readonly sources: readonly string[]; readonly to: string };

function copiesOf({ instructions }: Stage): readonly Copy[] {
  return instructions.flatMap(({ word, text }) => {
    if (word !== "COPY") return [];
    const words = text.split(/\s+/);
    const flag = words[0]?.startsWith("--from=") === true ? words.shift()?.slice("--from=".length) : undefined;
    const to = words.pop() ?? "";
    return [{ from: flag, sources: words, to }];
  });
}

/** Carries out both stages; the result is the directory that stands for `/` of the image. */
async function carryOut(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "sallyport-image-"));
  await chmod(made, 0o755);
  const buildRoot = join(made, "build-stage");
  const workDirectory = build.instructions.find(({ word }) => word === "WORKDIR")!.text;
  const cwd = join(buildRoot, workDirectory);
  await mkdir(cwd, { recursive: true });
  for (const { word, text } of build.instructions) {
    if (word === "COPY") {
      const [copy] = copiesOf({ ...build, instructions: [{ word, text }] });
      await copyInto(copy!, root, cwd);
    } else if (word === "RUN" && text.startsWith("npm ci ")) {
      // A copy, never links: npm writes into files of node_modules where they stand.
      await run("cp", ["-a", "--reflink=auto", `${root}node_modules`, "."], { cwd });
    } else if (word === "RUN") {
      const made = spawnSync("sh", ["-c", text], { cwd, env: { ...process.env, npm_config_offline: "true" } });
      if (made.status !== 0) throw new Error(`${text}:\n${made.stdout.toString()}${made.stderr.toString()}`);
    }
  }
  for (const copy of copiesOf(final)) {
    const from = copy.from === undefined ? root : buildRoot;
    await copyInto({ ...copy, sources: copy.sources.map((source) => source.replace(/^\//, "")) }, from, made);
  }
  await rm(buildRoot, { recursive: true });
  // Ours may lie where the image's user may not go, as one does that npx has fetched for root.
  await mkdir(dirname(join(made, node)), { recursive: true });
  await run("cp", ["--dereference", "--reflink=auto", process.execPath, join(made, node)]);
  await run("chmod", ["-R", "a+rX", join(made, "opt")]);
  return made;
}

/** As COPY does it: one directory is copied as its contents; a target with a slash at its end is a directory. */
async function copyInto({ sources, to }: Copy, from: string, base: string): Promise<void> {
  const target = join(base, to);
  for (const source of sources) {
    const isInto = to.endsWith("/");
    const at = isInto || to === "." ? join(target, source.split("/").at(-1)!) : target;
    await mkdir(dirname(at), { recursive: true });
    await cp(join(from, source), at, { recursive: true });
  }
}

/** The image's entry point, with its files where they are here, and the Node that this runs on. */
function entryPoint(image: string): readonly string[] {
  const [program, ...words] = execForm(final, "ENTRYPOINT");
  expect(program).toBe("node");
  return [join(image, node), ...words.map((word) => (word.startsWith("/") ? join(image, word) : word))];
}

/** `unshare` waits for its child, which is process 1 of the new namespace. */
async function innermost(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Number(children.trim().split(" ")[0]);
}
