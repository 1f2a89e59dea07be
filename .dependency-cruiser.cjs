// Import rules: who may enter which room of src/, and where each npm package lives.
// docs/architecture.md says why; this file is what holds.

/** What each room may import of the others; `types` are rooms of which it may import types only. */
const rooms = {
  names: { values: [] },
  wire: { values: ["names"] },
  identity: { values: ["names"] },
  policy: { values: ["names", "wire", "identity"] },
  review: { values: ["names", "wire", "identity", "policy"] },
  config: { values: ["names", "wire", "identity", "policy"] },
  egress: { values: ["names", "wire", "identity"], types: ["policy"] },
  record: { values: ["names", "wire", "identity"], types: ["policy"] },
  pki: { values: ["names", "wire", "identity", "policy"] },
  ingress: { values: ["names", "wire", "identity", "policy", "config", "egress", "record", "pki"] },
  reload: { values: ["names", "policy", "review", "config", "record"] },
  admin: {
    values: ["names", "wire", "identity", "policy", "review", "config", "egress", "record", "pki", "ingress", "reload"],
  },
  proxy: {
    values: ["names", "wire", "identity", "policy", "config", "egress", "record", "pki", "ingress", "reload", "admin"],
  },
  workers: {
    values: [
      "names",
      "wire",
      "identity",
      "policy",
      "config",
      "egress",
      "record",
      "pki",
      "ingress",
      "reload",
      "admin",
      "proxy",
    ],
  },
  cli: {
    values: [
      "names",
      "wire",
      "identity",
      "policy",
      "review",
      "config",
      "egress",
      "record",
      "pki",
      "ingress",
      "reload",
      "admin",
      "proxy",
      "workers",
    ],
  },
  main: { values: ["cli", "config"] },
};

/** Rooms of one file. */
const files = ["proxy", "main"];

/** Rooms that do no I/O, and the builtins that do none either. */
const pure = ["names", "wire", "identity", "policy", "review"];
const pureBuiltins = "^(node:)?(net|url|crypto|buffer)$";

/** The one home of each package; a package without a line here may be imported anywhere in src/. */
const homes = {
  "http-proxy": "^src/egress/forward\\.ts$",
  minimatch: "^src/policy/(glob|path|pattern)\\.ts$",
  "node-forge": "^src/pki/",
  "prom-client": "^src/record/metrics[^/]*\\.ts$",
  bcryptjs: "^src/ingress/bcrypt-thread\\.ts$",
  pino: "^src/record/access-log\\.ts$",
  yaml: "^src/config/",
  zod: "^src/config/",
  commander: "^src/cli/",
  hono: "^src/admin/",
  "@hono/[^/]+": "^src/admin/",
  tldts: "^src/names/public-suffix\\.ts$",
};

/** Matches all files of one room or of several. */
function pathOf(...names) {
  const parts = names.map((name) => (files.includes(name) ? `${name}\\.ts$` : `${name}/`));
  return `^src/(${parts.join("|")})`;
}

const roomRules = Object.entries(rooms).flatMap(([room, { values, types = [] }]) => [
  {
    name: `${room}-imports`,
    severity: "error",
    comment: `${room} may import ${[...values, ...types].join(", ") || "nothing of ours"}.`,
    from: { path: pathOf(room) },
    to: { path: "^src/", pathNot: pathOf(room, ...values, ...types) },
  },
  ...types.map((typeRoom) => ({
    name: `${room}-imports-types-of-${typeRoom}`,
    severity: "error",
    comment: `${room} may import types of ${typeRoom}, with "import type", and no values.`,
    from: { path: pathOf(room) },
    to: { path: pathOf(typeRoom), dependencyTypesNot: ["type-only"] },
  })),
]);

const homeRules = Object.entries(homes).map(([name, home]) => ({
  name: `home-of-${name.replace(/[^a-z-]/g, "")}`,
  severity: "error",
  comment: `${name} is imported in ${home} only, so that it can be replaced there.`,
  from: { path: "^src/", pathNot: home },
  to: { path: `node_modules/(@types/)?${name}/` },
}));

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    ...roomRules,
    ...homeRules,
    {
      name: "console-is-alone",
      severity: "error",
      comment: "src/admin/console runs in a browser: it imports its own files and nothing else.",
      from: { path: "^src/admin/console/" },
      to: { pathNot: "^src/admin/console/" },
    },
    {
      name: "console-is-served",
      severity: "error",
      comment: "The server serves the files of src/admin/console, and imports none of them.",
      from: { path: "^src/", pathNot: "^src/admin/console/" },
      to: { path: "^src/admin/console/" },
    },
    {
      name: "known-room",
      severity: "error",
      comment: "Every file of src/ stands in a room that this configuration knows.",
      from: {},
      to: { path: "^src/", pathNot: pathOf(...Object.keys(rooms)) },
    },
    {
      name: "pure-builtins",
      severity: "error",
      comment: `${pure.join(", ")} do no I/O: of Node's modules only net (isIP), url, crypto and buffer.`,
      from: { path: pathOf(...pure) },
      to: { dependencyTypes: ["core"], pathNot: pureBuiltins },
    },
    {
      name: "no-cycle",
      severity: "error",
      comment: "No cycles, type imports included: what depends on each other belongs in one file, or in three.",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-orphan",
      severity: "error",
      comment: "A file of src/ that imports nothing and is imported by nothing has no work to do.",
      from: { orphan: true, path: "^src/" },
      to: {},
    },
    {
      name: "no-tests-in-src",
      severity: "error",
      comment: "What ships does not need what tests it.",
      from: { path: "^src/" },
      to: { pathNot: ["^src/", "node_modules/"], dependencyTypes: ["local"] },
    },
    {
      name: "declared-packages",
      severity: "error",
      comment:
        "src/ imports packages that package.json lists under dependencies; types may come from a dev dependency.",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown", "npm-optional", "npm-peer"],
        dependencyTypesNot: ["type-only"],
        pathNot: "node_modules/@types/",
      },
    },
    {
      name: "resolvable",
      severity: "error",
      comment: "An import that leads nowhere.",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      mainFields: ["module", "main", "types"],
    },
  },
};
