/** The end of a response that said `Connection: close`, where the request behind it may still be arriving. */
import type { ServerResponse } from "node:http";
import { type Connection, closeAfterThis } from "./connection.ts";
import { lingerBytes, lingerMs } from "./linger.ts";

/**
 * Ends the response and with it the connection. Where the client is still sending, closing at once would reset the
 * connection under it, and the reset throws away an answer that it has not read: our side is ended, and what still
 * comes is read and thrown away until the client ends its own, at most `lingerBytes` and `lingerMs`.
 */
export function endLastResponse(connection: Connection, response: ServerResponse, body?: Buffer): void {
  const { socket } = connection;
  const { req: request } = response;
  closeAfterThis(connection);
  // When such a response is written out, Node calls this method of its socket, and no other.
  if (!request.complete) socket.destroySoon = linger;
  response.end(body);

  function linger(): void {
    const deadline = setTimeout(() => socket.destroy(), lingerMs);
    socket.once("close", () => clearTimeout(deadline));
    socket.end();
    let discarded = 0;
    request.on("data", (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > lingerBytes) request.pause();
    });
    request.resume();
  }
}
