/** `npm run dashboards`: writes the dashboards' files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dashboardFiles } from "./dashboards.ts";

const directory = fileURLToPath(new URL("../dashboards/", import.meta.url));

mkdirSync(directory, { recursive: true });
for (const { name, text } of dashboardFiles()) {
  writeFileSync(directory + name, text);
  console.log(`deploy/grafana/dashboards/${name}`);
}
