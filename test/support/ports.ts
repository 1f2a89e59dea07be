/** Loopback ports for programs that cannot be told to listen on port 0 and say which they got. */
import { once } from "node:events";
import { createServer } from "node:net";

/**
 * A port on which nothing listened a moment ago. Another process may take it before the caller does, so a caller
 * tries again with a new one; our own servers listen on port 0 instead.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const server = createServer();
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("a TCP server without an address");
  return address.port;
}
