/**
 * Datto's control channel, silent for real: `node --import ./test/support/typescript.mjs test/support/silent-tunnel.ts 185`
 * opens it through a real Sallyport with the datto-rmm pack, waits for so many seconds, and then talks both ways.
 */
import { setTimeout as pause } from "node:timers/promises";
import { openChannel } from "./agents/datto.ts";
import { startLab } from "./lab/lab.ts";
import { startSallyport } from "./sallyport.ts";

const seconds = Number(process.argv[2] ?? 185);
const lab = await startLab();
const sallyport = await startSallyport({ policy: { use: ["datto-rmm"] }, settings: { connect_to: lab.connectTo } });
const channel = await openChannel({ proxyPort: sallyport.port, ca: lab.ca });
const before = await channel.talk("before the silence");
console.log(`${new Date().toISOString()} ${JSON.stringify(before)} came back; silent for ${seconds} s`);
await pause(seconds * 1000);
const after = await channel.talk("after the silence");
console.log(`${new Date().toISOString()} ${JSON.stringify(after)} came back`);
await channel.hangUp();
const line = await sallyport.logged(({ event }) => event === "connect");
console.log(JSON.stringify(line));
await sallyport.stop();
await lab.close();
