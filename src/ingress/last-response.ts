/** The end of a response that said `Connection: close`. */
import type { ServerResponse } from "node:http";
import type { Connection } from "./connection.ts";

/** Ends the response and with it the connection, which lingers: the request may still be arriving. */
export function endLastResponse(connection: Connection, response: ServerResponse, body?: Buffer): void {
  connection.isLast = true;
  response.end(body);
}
