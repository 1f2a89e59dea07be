/** As much of RFC 6455 as a greeting needs: the handshake's proof, and short text frames. */
import { createHash } from "node:crypto";

/** What the server answers to a client's Sec-WebSocket-Key (section 4.2.2). */
export function acceptOf(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

/** A text frame with up to 125 bytes; the frames of clients are masked (section 5.3). */
export function textFrame(text: string, mask?: Buffer): Buffer {
  const data = Buffer.from(text);
  if (data.length > 125) throw new Error("a frame of the lab is short");
  if (mask === undefined) return Buffer.concat([Buffer.from([0x81, data.length]), data]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | data.length]), mask, masked(data, mask)]);
}

/** The first frame of what is here, and its length; undefined while more is needed. */
export function readFrame(bytes: Buffer): { readonly text: string; readonly length: number } | undefined {
  if (bytes.length < 2) return undefined;
  const isMasked = (bytes[1]! & 0x80) !== 0;
  const start = isMasked ? 6 : 2;
  const length = start + (bytes[1]! & 0x7f);
  if (bytes.length < length) return undefined;
  const data = bytes.subarray(start, length);
  return { text: (isMasked ? masked(data, bytes.subarray(2, 6)) : data).toString(), length };
}

function masked(data: Buffer, mask: Buffer): Buffer {
  return Buffer.from(data.map((byte, i) => byte ^ mask[i % 4]!));
}
