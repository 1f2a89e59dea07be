/** All dashboards as the files under deploy/grafana/dashboards have them. */
import { denials } from "./denials.ts";
import { dashboard } from "./frame.ts";
import { patchTraffic } from "./patch-traffic.ts";
import { policy } from "./policy.ts";
import { tunnelsAndLimits } from "./tunnels-and-limits.ts";

export type DashboardFile = { readonly name: string; readonly text: string };

/** `denials.json` and its text, for each. The same sources give the same bytes. */
export function dashboardFiles(): readonly DashboardFile[] {
  return [denials, patchTraffic, tunnelsAndLimits, policy].map((words) => ({
    name: `${words.name}.json`,
    text: `${JSON.stringify(dashboard(words), undefined, 2)}\n`,
  }));
}
