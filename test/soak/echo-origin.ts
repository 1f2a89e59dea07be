/**
 * Origins in a process of their own, so that their descriptors are not those of the clients: TLS hellos, then an echo.
 * `fork` it; it sends the `address:port` of each and lives until the channel closes.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { serverHello } from "../support/hello.ts";

const addresses = 8;

export type EchoOrigins = {
  /** For `connect_to`: `h0.tls.example.com` and so on lead to one address each. */
  readonly connectTo: readonly string[];
  readonly host: (number: number) => string;
  readonly close: () => Promise<void>;
};

/** Starts the process. */
export async function startEchoOrigins(): Promise<EchoOrigins> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ["listen"], { execArgv: process.execArgv });
  const [places] = (await once(child, "message")) as [readonly string[]];
  return {
    connectTo: places.map((place, i) => `h${i}.tls.example.com::${place}`),
    host: (number) => `h${number % addresses}.tls.example.com`,
    close: async () => {
      const exited = once(child, "exit");
      child.disconnect();
      await exited;
    },
  };
}

if (process.argv[2] === "listen") {
  const answer = serverHello();
  const places = await Promise.all(
    Array.from({ length: addresses }, async (_, i) => {
      const server = createServer((socket) => {
        socket.on("error", () => socket.destroy());
        socket.once("data", () => {
          socket.write(answer);
          socket.on("data", (chunk: Buffer) => {
            // "Q" asks the origin to end first.
            if (chunk.length === 1 && chunk[0] === 81) socket.end();
            else socket.write(chunk);
          });
        });
      });
      server.listen({ host: `127.0.1.${i + 1}`, port: 0, backlog: 4096 });
      await once(server, "listening");
      return `127.0.1.${i + 1}:${(server.address() as AddressInfo).port}`;
    }),
  );
  process.send?.(places);
  process.on("disconnect", () => process.exit(0));
}
