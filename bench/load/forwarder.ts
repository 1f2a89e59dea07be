/**
 * A plain forwarder as a contender, what one writes in Node in an afternoon: node:http, http-proxy with an agent that
 * keeps connections, a Set of names that are allowed, and `pipe` both ways for tunnels. No log, no metrics, no look
 * into tunnels, no deadlines.
 */
import { Agent, createServer } from "node:http";
import { type LookupFunction, connect } from "node:net";
import { fileURLToPath } from "node:url";
import httpProxy from "http-proxy";
import { launch, startOnFreePort } from "./children.ts";
import { type Contender, address, hosts, otherApexes, tunnelApex, webApex } from "./contender.ts";

export function findForwarder(): Contender {
  return {
    name: "node forwarder",
    version: `http-proxy on Node ${process.version}`,
    judgesServerName: false,
    note: "node:http, http-proxy and pipe; no SNI, no log, no deadlines",
    hosts,
    start: async () => {
      const { port, child } = await startOnFreePort((free) => {
        const args = [...process.execArgv, fileURLToPath(import.meta.url), "forward", String(free)];
        return launch(process.execPath, args, process.cwd());
      });
      return { ...child, port };
    },
  };
}

if (process.argv[2] === "forward") serve(Number(process.argv[3]));

function serve(port: number): void {
  const allowed = new Set([webApex, tunnelApex, ...otherApexes]);
  const isAllowed = (host: string): boolean => {
    let at = 0;
    do {
      if (allowed.has(host.slice(at))) return true;
      at = host.indexOf(".", at) + 1;
    } while (at > 0);
    return false;
  };
  const lookup: LookupFunction = (_host, options, callback) => {
    if (options.all === true) callback(null, [{ address, family: 4 }]);
    else callback(null, address, 4);
  };
  const proxy = httpProxy.createProxyServer({ agent: new Agent({ keepAlive: true, lookup }) });
  proxy.on("error", (_error, _request, response) => response.destroy());

  const server = createServer((request, response) => {
    const target = new URL(request.url ?? "");
    if (!isAllowed(target.hostname)) {
      response.writeHead(403).end();
      return;
    }
    request.url = target.pathname;
    proxy.web(request, response, { target: target.origin });
  });
  server.on("connect", (request, client) => {
    client.on("error", () => client.destroy());
    const [host = "", targetPort] = (request.url ?? "").split(":");
    if (!isAllowed(host)) {
      client.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      return;
    }
    const upstream = connect({ host, port: Number(targetPort), lookup, noDelay: true }, () => {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    upstream.on("error", () => client.destroy());
    client.on("close", () => upstream.destroy());
  });
  server.listen(port, address);
}
