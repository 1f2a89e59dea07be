/** What the runner asks of the client process, and what it hears back. */

/** A GET in absolute form over a connection that is kept. */
export type Get = {
  readonly kind: "get";
  readonly proxyPort: number;
  readonly url: string;
  readonly range?: string;
  /** What has to come back. */
  readonly status: number;
  readonly bytes: number;
};

/** A new tunnel: CONNECT, a ClientHello, the server's answer, and then bytes that the origin understands. */
export type Tunnel = {
  readonly kind: "tunnel";
  readonly proxyPort: number;
  readonly authority: string;
  readonly hello: Uint8Array;
  /** Length of what the server says to the hello. */
  readonly answerBytes: number;
  readonly deed: Deed;
};

/** What is done in a tunnel after the hellos; the first message in it is `commandOf` the deed. */
export type Deed =
  | { readonly kind: "echo" | "download" | "upload"; readonly bytes: number }
  | { readonly kind: "none" };

export type Load =
  /** So many at a time, one after the other, for so long; what is under way then is finished. */
  | { readonly kind: "closed"; readonly width: number; readonly forMs: number }
  /** So many a second, whether or not earlier ones are done. */
  | { readonly kind: "open"; readonly perSecond: number; readonly forMs: number }
  /** So many tunnels, all held open until `release`. */
  | { readonly kind: "hold"; readonly count: number };

export type Job =
  | { readonly kind: "run"; readonly exchange: Get | Tunnel; readonly load: Load }
  | { readonly kind: "release" };

export type Report =
  | {
      readonly kind: "done";
      readonly units: number;
      readonly seconds: number;
      readonly p50Ms: number;
      readonly p99Ms: number;
    }
  /** An answer was not what it has to be, or did not come. */
  | { readonly kind: "failed"; readonly problem: string };

/** Length of a command in a tunnel: a letter and a number. */
export const commandBytes = 7;

/** A letter for what is to be done, and how many bytes of it, in 6 bytes. */
export function commandOf(deed: Deed): Buffer {
  const command = Buffer.alloc(commandBytes);
  command.writeUInt8(deed.kind.charCodeAt(0));
  command.writeUIntBE(deed.kind === "none" ? 0 : deed.bytes, 1, 6);
  return command;
}
