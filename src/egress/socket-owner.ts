/**
 * Who reads a socket and answers for it: one at a time. The listeners are put on once, and are the same for all sockets;
 * to hand a socket on is to write down whose it is. (Putting listeners on and taking them off for every owner, with a
 * closure for each, was a fifth of what a tunnel cost: docs/benchmarks.md.)
 */
import type { Socket } from "node:net";

/** Each is told which of its sockets it is. None may throw. */
export type SocketOwner = {
  /** Not told of a socket whose bytes come through an inflow. */
  readonly onData: (socket: Socket, chunk: Buffer) => void;
  readonly onEnd: (socket: Socket) => void;
  readonly onDrain: (socket: Socket) => void;
  /** `onClose` follows. */
  readonly onError: (socket: Socket, error: NodeJS.ErrnoException) => void;
  readonly onClose: (socket: Socket) => void;
};

/** Null where errors are heeded, and nobody owns it. */
const owner: unique symbol = Symbol("owner");
declare module "node:net" {
  // Only an interface can be added to.
  // oxlint-disable-next-line typescript/consistent-type-definitions
  interface Socket {
    [owner]?: SocketOwner | null;
  }
}

/** For the first synchronous line of a socket's life: an error is ignored while nobody owns it, `close` follows it. */
export function heedErrors(socket: Socket): void {
  if (socket[owner] !== undefined) return;
  socket[owner] = null;
  socket.on("error", onError);
}

/** Hands a socket to `who`. One that was nobody's begins to flow, unless it is paused. */
export function own(socket: Socket, who: SocketOwner): void {
  const isNew = listen(socket);
  socket[owner] = who;
  if (isNew) socket.on("data", onData);
}

/** The same for a socket whose bytes come through an inflow. */
export function ownInflow(socket: Socket, who: SocketOwner): void {
  listen(socket);
  socket[owner] = who;
}

/** Nobody's from now on, or that of somebody with listeners of his own. It flows or not, as before. */
export function disown(socket: Socket): void {
  if (socket[owner] === undefined || socket[owner] === null) return;
  socket[owner] = null;
  socket.removeListener("data", onData);
  socket.removeListener("end", onEnd);
  socket.removeListener("drain", onDrain);
  socket.removeListener("close", onClose);
}

/** True where nobody has listened before. */
function listen(socket: Socket): boolean {
  heedErrors(socket);
  if (socket[owner] !== null) return false;
  socket.on("end", onEnd);
  socket.on("drain", onDrain);
  socket.on("close", onClose);
  return true;
}

function onData(this: Socket, chunk: Buffer): void {
  this[owner]?.onData(this, chunk);
}

function onEnd(this: Socket): void {
  this[owner]?.onEnd(this);
}

function onDrain(this: Socket): void {
  this[owner]?.onDrain(this);
}

function onError(this: Socket, error: NodeJS.ErrnoException): void {
  this[owner]?.onError(this, error);
}

function onClose(this: Socket): void {
  this[owner]?.onClose(this);
}
