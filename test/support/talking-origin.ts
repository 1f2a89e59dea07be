/** An origin that answers one request after the other on a connection, as a test says, and knows which came where. */
import type { Socket } from "node:net";
import { type TcpOrigin, startTcpOrigin } from "./tls-origin.ts";

export type Asked = {
  readonly method: string;
  readonly path: string;
  /** latin1, from the request line to the empty line. */
  readonly head: string;
  /** By Content-Length; empty for chunks, which no test here sends. */
  readonly body: string;
  /** Number of its connection, from 0, and its own on that. */
  readonly connection: number;
  readonly turn: number;
  readonly socket: Socket;
};

export type TalkingOrigin = Pick<TcpOrigin, "port" | "connections" | "close" | "recording"> & {
  /** All requests, in the order of their last byte. */
  readonly asked: readonly Asked[];
};

/** `answer` gives the bytes to send, as latin1; undefined where it has seen to it itself. */
export async function startTalkingOrigin(answer: (asked: Asked) => string | undefined): Promise<TalkingOrigin> {
  const asked: Asked[] = [];
  let connections = 0;
  const origin = await startTcpOrigin(({ socket }) => {
    const connection = connections++;
    let turn = 0;
    let received = "";
    socket.on("end", () => socket.end());
    socket.on("data", (bytes: Buffer) => {
      received += bytes.toString("latin1");
      for (;;) {
        const headEnd = received.indexOf("\r\n\r\n") + 4;
        if (headEnd < 4) return;
        const head = received.slice(0, headEnd);
        const end = headEnd + Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0);
        if (received.length < end) return;
        const [method = "", path = ""] = head.split(" ", 2);
        const one = { method, path, head, body: received.slice(headEnd, end), connection, turn, socket };
        turn += 1;
        received = received.slice(end);
        asked.push(one);
        const text = answer(one);
        if (text !== undefined && !socket.destroyed) socket.write(Buffer.from(text, "latin1"));
      }
    });
  });
  const { port, close, recording } = origin;
  return { port, close, recording, connections: origin.connections, asked };
}

/** A 200 with this body. */
export function okWith(body: string, fields: readonly string[] = []): string {
  return ["HTTP/1.1 200 OK", `Content-Length: ${body.length}`, ...fields, "", body].join("\r\n");
}
