/**
 * The Kubernetes manifests. No schema of Kubernetes is among the packages, so what matters is checked by hand, and a field
 * that is not in the list below is taken for a mistake. Where there is a kubectl, it builds what kustomize makes of them.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { disk } from "../../../src/config/disk.ts";
import { loadPolicySet, loadSettings } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import type { Settings } from "../../../src/config/settings.ts";
import { compileRuleset } from "../../../src/policy/compile.ts";
import { requireTool } from "../../support/tools.ts";

type Tree = { readonly [key: string]: unknown };
type Manifest = Tree & { readonly kind: string; readonly apiVersion: string; readonly metadata: { name: string } };

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const directory = `${root}deploy/kubernetes/`;
const base = await read("base/kustomization.yaml");
const manifests = (await Promise.all((base[0]!["resources"] as string[]).map((name) => read(`base/${name}`)))).flat();
const [serviceMonitor] = (await read("prometheus-operator/service-monitor.yaml")) as [Manifest];
const deployment = at(find("Deployment"), "spec", "template", "spec");
const container = (deployment["containers"] as Tree[])[0]!;
const kubectl = requireTool("kubectl");

/** API version and every field that may stand in a manifest of the kind; labels, annotations and selectors are free. */
const known: Readonly<Record<string, readonly [apiVersion: string, fields: string]>> = {
  Namespace: ["v1", ""],
  Service: ["v1", "type externalTrafficPolicy clusterIP selector ports port targetPort"],
  Deployment: [
    "apps/v1",
    `strategy rollingUpdate maxSurge maxUnavailable selector matchLabels template automountServiceAccountToken
     enableServiceLinks terminationGracePeriodSeconds securityContext runAsNonRoot runAsUser runAsGroup seccompProfile type
     topologySpreadConstraints maxSkew topologyKey whenUnsatisfiable labelSelector containers image ports containerPort env
     value startupProbe readinessProbe livenessProbe httpGet path port periodSeconds timeoutSeconds failureThreshold
     lifecycle preStop sleep seconds resources requests limits cpu memory allowPrivilegeEscalation readOnlyRootFilesystem
     capabilities drop volumeMounts mountPath readOnly volumes configMap`,
  ],
  PodDisruptionBudget: ["policy/v1", "maxUnavailable selector matchLabels"],
  HorizontalPodAutoscaler: [
    "autoscaling/v2",
    `scaleTargetRef minReplicas maxReplicas metrics type resource target averageUtilization behavior scaleDown
     stabilizationWindowSeconds policies value periodSeconds`,
  ],
  NetworkPolicy: [
    "networking.k8s.io/v1",
    `podSelector matchLabels policyTypes ingress egress from to ipBlock cidr except namespaceSelector ports protocol port`,
  ],
  ServiceMonitor: ["monitoring.coreos.com/v1", "jobLabel selector matchLabels endpoints port path interval"],
};
const everywhere = ["apiVersion", "kind", "metadata", "spec", "name", "labels"];

describe("every manifest", () => {
  const all = [...manifests, serviceMonitor];

  test("there is one of each kind, and two services", () => {
    expect(all.map(({ kind }) => kind).toSorted()).toEqual([...Object.keys(known), "Service"].toSorted());
  });

  test.each(all.map((manifest) => [manifest.kind, manifest.metadata.name, manifest] as const))(
    "%s %s has an API version that is served, and no field that is not known",
    (kind, _name, manifest) => {
      const [apiVersion, fields] = known[kind] ?? ["", ""];
      expect(manifest.apiVersion).toBe(apiVersion);
      const allowed = new Set([...everywhere, ...fields.split(/\s+/)]);
      expect([...fieldsOf(manifest)].filter((field) => !allowed.has(field))).toEqual([]);
    },
  );

  test("whatever selects pods finds those of the deployment", () => {
    const labels = at(find("Deployment"), "spec", "template", "metadata")["labels"];
    const [clients, admin] = manifests.filter(({ kind }) => kind === "Service");
    for (const selector of [
      at(find("Deployment"), "spec", "selector")["matchLabels"],
      at(find("PodDisruptionBudget"), "spec", "selector")["matchLabels"],
      at(find("NetworkPolicy"), "spec", "podSelector")["matchLabels"],
      at(clients!, "spec")["selector"],
      at(admin!, "spec")["selector"],
      ...(deployment["topologySpreadConstraints"] as Tree[]).map((one) => at(one, "labelSelector")["matchLabels"]),
    ])
      expect(selector).toEqual(labels);
    expect(at(find("HorizontalPodAutoscaler"), "spec")["scaleTargetRef"]).toMatchObject({
      kind: "Deployment",
      name: find("Deployment").metadata.name,
    });
    expect(at(find("ServiceMonitor"), "spec", "selector")["matchLabels"]).toEqual(at(admin!, "metadata")["labels"]);
  });

  test("ports that are named are those of the container", () => {
    const ports = container["ports"] as { name: string; containerPort: number }[];
    expect(Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort]))).toEqual({
      proxy: 3128,
      admin: 9180,
    });
  });
});

describe("a pod", () => {
  test("meets the restricted profile of pod security, and can write nothing", () => {
    expect(deployment["securityContext"]).toEqual({
      runAsNonRoot: true,
      runAsUser: 10001,
      runAsGroup: 10001,
      seccompProfile: { type: "RuntimeDefault" },
    });
    expect(container["securityContext"]).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(deployment["automountServiceAccountToken"]).toBe(false);
    expect(at(find("Namespace"), "metadata")["labels"]).toMatchObject({
      "pod-security.kubernetes.io/enforce": "restricted",
    });
  });

  test("runs as the user of the image", async () => {
    expect(await readFile(`${root}deploy/container/Dockerfile`, "utf8")).toContain("\nUSER 10001:10001\n");
  });

  test("is asked for what the admin server answers", () => {
    const paths = ["startupProbe", "readinessProbe", "livenessProbe"].map((name) => at(container, name)["httpGet"]);
    expect(paths).toEqual([
      { path: "/readyz", port: "admin" },
      { path: "/readyz", port: "admin" },
      { path: "/healthz", port: "admin" },
    ]);
  });

  test.each(["base", "proxy-protocol"])("has the time to drain that %s gives it", (name) => {
    const { limits } = settingsOf(`${name}/config/sallyport.yaml`);
    const wait = at(container, "lifecycle", "preStop", "sleep")["seconds"] as number;
    const grace = deployment["terminationGracePeriodSeconds"] as number;
    expect(grace * 1000).toBeGreaterThanOrEqual(wait * 1000 + limits.drainTimeoutMs + 5000);
  });

  test("mounts the ConfigMap as a directory, under a name that a change of policy keeps", () => {
    expect(container["volumeMounts"]).toEqual([{ name: "config", mountPath: "/etc/sallyport", readOnly: true }]);
    expect(deployment["volumes"]).toEqual([{ name: "config", configMap: { name: "sallyport" } }]);
    expect(base[0]!["generatorOptions"]).toEqual({ disableNameSuffixHash: true });
  });
});

describe("the configuration", () => {
  test("is valid, listens where the container's ports are, and its policy loads", () => {
    const settings = settingsOf("base/config/sallyport.yaml");
    expect(settings.listen.map(({ address }) => address)).toEqual([{ host: "0.0.0.0", port: 3128 }]);
    expect(settings.admin.address).toEqual({ host: "0.0.0.0", port: 9180 });
    expect(settings.policy).toEqual([`${directory}base/config/site.yaml`]);
  });

  test("behind PROXY protocol is the same but for the listener", async () => {
    expect(settingsOf("proxy-protocol/config/sallyport.yaml").listen).toHaveLength(1);
    const [plain, behind] = await Promise.all(
      ["base", "proxy-protocol"].map(async (name) => (await read(`${name}/config/sallyport.yaml`))[0]!),
    );
    expect({ ...behind, listen: null }).toEqual({ ...plain, listen: null });
    expect(behind!["listen"]).toEqual([
      { kind: "proxy", address: "0.0.0.0:3128", proxy_protocol: { from: ["10.0.0.0/16"] } },
    ]);
  });

  test("allows no port that the network policy stops", () => {
    const loaded = loadPolicySet({
      ...disk,
      files: [`${directory}base/config/site.yaml`],
      packsDir: `${root}policies/packs`,
    });
    if (loaded.kind === "problems") throw new Error(JSON.stringify(loaded.problems));
    const { rules } = compileRuleset(loaded.set);
    const wanted = new Set(rules.flatMap(({ endpoints }) => endpoints.map(({ port }) => port)));
    const [, outside] = at(find("NetworkPolicy"), "spec")["egress"] as { ports: { port: number }[] }[];
    expect(wanted.size).toBeGreaterThan(0);
    expect(outside!.ports.map(({ port }) => port)).toEqual(expect.arrayContaining([...wanted]));
  });
});

describe.skipIf(kubectl === undefined)("kubectl kustomize", () => {
  test.each([
    ["base", "Local"],
    ["proxy-protocol", "Cluster"],
  ])("builds %s", async (name, trafficPolicy) => {
    const { stdout } = await run(kubectl!, ["kustomize", directory + name]);
    const built = parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
    expect(built.map(({ kind }) => kind).toSorted()).toEqual(
      [...manifests.map(({ kind }) => kind), "ConfigMap"].toSorted(),
    );
    const config = built.find(({ kind }) => kind === "ConfigMap");
    expect(config?.metadata.name).toBe("sallyport");
    const data = at(config!, "data");
    expect(Object.keys(data)).toEqual(["sallyport.yaml", "site.yaml"]);
    expect(String(data["sallyport.yaml"]).includes("proxy_protocol")).toBe(name === "proxy-protocol");
    const service = built.find(({ kind, metadata }) => kind === "Service" && metadata.name === "sallyport");
    expect(at(service!, "spec")["externalTrafficPolicy"]).toBe(trafficPolicy);
  });
});

async function read(path: string): Promise<readonly Manifest[]> {
  const documents = parseAllDocuments(await readFile(directory + path, "utf8"));
  return documents.map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Manifest;
  });
}

function find(kind: string): Manifest {
  return [...manifests, serviceMonitor].find((manifest) => manifest.kind === kind)!;
}

function at(tree: Tree, ...path: readonly string[]): Tree {
  return path.reduce((inner, key) => inner[key] as Tree, tree);
}

/** Names of all fields, but for the maps whose keys are words of the user's. */
function* fieldsOf(value: unknown): Generator<string> {
  if (Array.isArray(value)) {
    for (const item of value) yield* fieldsOf(item);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      yield key;
      if (!["labels", "matchLabels", "annotations"].includes(key) && !isSelector(key, inner)) yield* fieldsOf(inner);
    }
  }
}

/** That of a service, which is a map of labels itself. */
function isSelector(key: string, value: unknown): boolean {
  return key === "selector" && !Object.hasOwn(value as object, "matchLabels");
}

function settingsOf(path: string): Settings {
  const loaded = loadSettings({ ...disk, path: directory + path, flags: {}, env: {} });
  if (loaded.kind === "problems") throw new Error(loaded.problems.map(formatProblem).join("\n"));
  return loaded.settings;
}
