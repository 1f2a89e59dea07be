/** PROXY headers as a load balancer writes them, and as nobody should. */

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");

/** Version 2: family 0x11 is TCP over IPv4, 0x21 over IPv6, 0 none; command 0x21 speaks for a client, 0x20 for itself. */
export function proxyBlock(
  family: number,
  body: Uint8Array,
  { command = 0x21, length = body.length }: { readonly command?: number; readonly length?: number } = {},
): Buffer {
  return Buffer.concat([signature, Buffer.from([command, family, length >> 8, length & 0xff]), body]);
}

/** Source and destination of a client of IPv4, `10.9.8.7` where it is left out. */
export function addresses4(source: readonly number[] = [10, 9, 8, 7]): Buffer {
  return Buffer.from([...source, 10, 0, 0, 1, 0xc3, 0x50, 0x0c, 0x38]);
}

/** The same of IPv6: `2001:db8::last`. */
export function addresses6(last = 7): Buffer {
  const address = (end: number): number[] => [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end];
  return Buffer.from([...address(last), ...address(8), 0xc3, 0x50, 0x0c, 0x38]);
}

/** An extension. */
export function extension(type: number, value: Uint8Array, length = value.length): Buffer {
  return Buffer.concat([Buffer.from([type, length >> 8, length & 0xff]), value]);
}
