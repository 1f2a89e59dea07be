/** Run in a network namespace of its own: origins and a Sallyport whose listeners take what is redirected to them. */
import { startListeners } from "./listeners.ts";

const all = await startListeners(
  () => [
    { kind: "sni", address: "0.0.0.0:0", port: 443 },
    { kind: "http", address: "0.0.0.0:0", port: 80 },
  ],
  {
    policy: {
      rules: [
        { id: "secure", hosts: ["updates.example.com"], expect: "https" },
        { id: "plain", hosts: ["plain.example.com"], expect: "http" },
        { id: "loop", hosts: ["loop.example.net"], expect: ["https", "http"] },
      ],
    },
    settings: { dns: { hosts: { "loop.example.net": "8.8.4.4" } } },
  },
);
console.log(JSON.stringify({ ports: all.ports, directory: all.directory }));
process.stdin.on("end", () => {
  void all.stop().then(() => console.log(JSON.stringify({ log: all.proxy.log })));
});
process.stdin.resume();
