/** Lets Node's HTTP client speak over a socket that was dialled, and so admitted, before. */
import { Agent } from "node:http";
import type { Socket } from "node:net";

/** An agent with one connection, for one request. */
export class DialledAgent extends Agent {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ keepAlive: false, maxSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(): Socket {
    return this.#socket;
  }
}
