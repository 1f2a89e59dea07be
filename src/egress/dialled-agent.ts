/** Lets Node's HTTP client speak over a socket that was dialled, and so admitted, before. */
import { Agent } from "node:http";
import type { Duplex } from "node:stream";

/** An agent with one connection, for one request. */
export class DialledAgent extends Agent {
  readonly #socket: Duplex;

  constructor(socket: Duplex) {
    // Without `maxSockets`: an agent that has it makes Node take the connection for one that is kept. It then leaves
    // its parser behind, for ever, where an origin sends more than the answer that it announced.
    super({ keepAlive: false });
    this.#socket = socket;
  }

  override createConnection(): Duplex {
    return this.#socket;
  }
}
