/** Every agent, with the packs that it needs and no more. */
import { runAction1 } from "./action1.ts";
import { runAutomationAnywhere } from "./automation-anywhere.ts";
import { runAutomox } from "./automox.ts";
import { runBits } from "./bits.ts";
import { runCryptoApi } from "./crypto-api.ts";
import { runDatto } from "./datto.ts";
import { runDeliveryOptimization } from "./delivery-optimization.ts";
import type { Step, Surroundings } from "./proxied.ts";
import { runSplashtop } from "./splashtop.ts";
import { runTrend } from "./trend.ts";
import { runWindowsUpdate } from "./windows-update.ts";

export type AgentName =
  | "Windows Update"
  | "Delivery Optimization"
  | "BITS"
  | "CryptoAPI"
  | "Automox"
  | "Action1"
  | "Datto RMM"
  | "Splashtop"
  | "Automation Anywhere"
  | "Trend Micro";

export type ScriptedAgent = {
  readonly name: AgentName;
  /** Entries for `use` of a site policy. */
  readonly packs: readonly unknown[];
  readonly run: (around: Surroundings) => Promise<readonly Step[]>;
};

/** The tenant and the Control Room of the lab; default.yaml has none. */
export const automationAnywherePack = {
  pack: "automation-anywhere",
  with: { tenant: "acme", control_room: "controlroom.corp.example" },
};

export const roster: readonly ScriptedAgent[] = [
  { name: "Windows Update", packs: ["windows-update"], run: runWindowsUpdate },
  { name: "Delivery Optimization", packs: ["windows-update"], run: (around) => runDeliveryOptimization(around) },
  { name: "BITS", packs: ["windows-update"], run: runBits },
  { name: "CryptoAPI", packs: ["microsoft-pki", "digicert"], run: runCryptoApi },
  { name: "Automox", packs: ["automox"], run: runAutomox },
  { name: "Action1", packs: ["action1-na"], run: runAction1 },
  { name: "Datto RMM", packs: ["datto-rmm"], run: runDatto },
  { name: "Splashtop", packs: ["automox-remote-control"], run: runSplashtop },
  { name: "Automation Anywhere", packs: [automationAnywherePack], run: runAutomationAnywhere },
  {
    name: "Trend Micro",
    packs: [{ pack: "trend-micro-workload-security", with: { region: "us-1" } }, "amazon-trust"],
    run: runTrend,
  },
];
