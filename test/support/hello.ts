/** Builds TLS hellos with any field set, well-formed or not, and cuts them over records. */

/** An extension by number, its data without the two bytes of length. */
export type Extension = { readonly type: number; readonly data: Uint8Array };

/** Fields of a ClientHello; whatever is left out is as a TLS 1.3 client sends it. */
export type ClientHelloFields = {
  readonly legacyVersion?: number;
  readonly sessionId?: Uint8Array;
  readonly cipherSuites?: readonly number[];
  readonly compressionMethods?: readonly number[];
  /** null leaves the whole block out, as clients did before there were extensions. */
  readonly extensions?: readonly Extension[] | null;
};

/** Fields of a ServerHello; whatever is left out is as a TLS 1.3 server sends it. */
export type ServerHelloFields = {
  readonly legacyVersion?: number;
  readonly random?: Uint8Array;
  readonly sessionId?: Uint8Array;
  readonly cipherSuite?: number;
  readonly extensions?: readonly Extension[] | null;
};

/** The random of a HelloRetryRequest (RFC 8446 section 4.1.3). */
export const helloRetryRandom = Uint8Array.from(
  Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex"),
);

/** A ClientHello as a message: type, length, body. */
export function clientHelloMessage(fields: ClientHelloFields = {}): Uint8Array {
  const {
    legacyVersion = 0x0303,
    sessionId = new Uint8Array(32).fill(0x5e),
    cipherSuites = [0x1301, 0x1302, 0xc02f],
    compressionMethods = [0],
    extensions = [serverName("a.example.com"), supportedVersions(0x0304, 0x0303)],
  } = fields;
  const body = bytes(
    u16(legacyVersion),
    new Uint8Array(32).fill(0xaa),
    vector8(sessionId),
    vector16(...cipherSuites.map(u16)),
    vector8(Uint8Array.from(compressionMethods)),
    extensionBlock(extensions),
  );
  return handshake(1, body);
}

/** A ServerHello as a message: type, length, body. */
export function serverHelloMessage(fields: ServerHelloFields = {}): Uint8Array {
  const {
    legacyVersion = 0x0303,
    random = new Uint8Array(32).fill(0xbb),
    sessionId = new Uint8Array(32).fill(0x5e),
    cipherSuite = 0x1301,
    extensions = [selectedVersion(0x0304)],
  } = fields;
  const body = bytes(u16(legacyVersion), random, vector8(sessionId), u16(cipherSuite), [0], extensionBlock(extensions));
  return handshake(2, body);
}

/** A ClientHello in one record: the bytes that a client sends first. */
export function clientHello(fields: ClientHelloFields = {}): Uint8Array {
  return record(22, clientHelloMessage(fields), 0x0301);
}

/** A ServerHello in one record. */
export function serverHello(fields: ServerHelloFields = {}): Uint8Array {
  return record(22, serverHelloMessage(fields));
}

/** The plain case: a hello for one name that offers these versions, highest first. */
export function helloFor(name: string | null, versions: readonly number[] = [0x0304, 0x0303]): Uint8Array {
  const names = name === null ? [] : [serverName(name)];
  return clientHello({ extensions: [...names, supportedVersions(...versions)] });
}

export function serverName(name: string | Uint8Array): Extension {
  return serverNames({ type: 0, name });
}

/** A server_name extension with any entries. */
export function serverNames(...entries: readonly { type: number; name: string | Uint8Array }[]): Extension {
  return extension(0, vector16(...entries.map(({ type, name }) => bytes([type], vector16(latin1(name))))));
}

/** supported_versions of a ClientHello. */
export function supportedVersions(...versions: readonly number[]): Extension {
  return extension(43, vector8(...versions.map(u16)));
}

/** supported_versions of a ServerHello. */
export function selectedVersion(version: number): Extension {
  return extension(43, u16(version));
}

export function alpn(...protocols: readonly (string | Uint8Array)[]): Extension {
  return extension(16, vector16(...protocols.map((protocol) => vector8(latin1(protocol)))));
}

/** Padding (RFC 7685): makes a hello as large as a test wants it. */
export function padding(length: number): Extension {
  return extension(21, new Uint8Array(length));
}

/** pre_shared_key; its content is nobody's business but the server's. */
export function preSharedKey(): Extension {
  return extension(41, new Uint8Array(48).fill(0x11));
}

/** encrypted_client_hello, real or GREASE: nobody outside can tell. */
export function encryptedClientHello(): Extension {
  return extension(0xfe0d, new Uint8Array(64).fill(0x22));
}

/** A GREASE extension (RFC 8701): `n` is 0 to 15. */
export function grease(n: number, data: Uint8Array = new Uint8Array(0)): Extension {
  return extension(greaseValue(n), data);
}

/** 0x0a0a, 0x1a1a … 0xfafa: `n` is 0 to 15. */
export function greaseValue(n: number): number {
  return (n << 12) | (n << 4) | 0x0a0a;
}

export function extension(type: number, data: Uint8Array): Extension {
  return { type, data };
}

/** A handshake message, whose length may lie. */
export function handshake(type: number, body: Uint8Array, length = body.length): Uint8Array {
  return bytes([type, length >> 16], u16(length & 0xffff), body);
}

/** One record, whose length may lie. Types: 20 change_cipher_spec, 21 alert, 22 handshake, 23 application data. */
export function record(type: number, payload: Uint8Array, version = 0x0303, length = payload.length): Uint8Array {
  return bytes([type], u16(version), u16(length), payload);
}

/**
 * A message over several handshake records: of these sizes in turn, the last one again and again until the message is
 * out. `records(message, [1])` is one byte a record.
 */
export function records(message: Uint8Array, sizes: readonly number[] = [2 ** 14]): Uint8Array {
  const parts: Uint8Array[] = [];
  let at = 0;
  while (at < message.length) {
    const size = sizes[Math.min(parts.length, sizes.length - 1)] ?? message.length;
    parts.push(record(22, message.subarray(at, at + size)));
    at += size;
  }
  return bytes(...parts);
}

/** A vector with one byte of length. */
export function vector8(...parts: readonly Uint8Array[]): Uint8Array {
  const content = bytes(...parts);
  return bytes([content.length], content);
}

/** A vector with two bytes of length. */
export function vector16(...parts: readonly Uint8Array[]): Uint8Array {
  const content = bytes(...parts);
  return bytes(u16(content.length), content);
}

/** Parts one after the other. */
export function bytes(...parts: readonly ArrayLike<number>[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function extensionBlock(extensions: readonly Extension[] | null): Uint8Array {
  if (extensions === null) return new Uint8Array(0);
  return vector16(...extensions.map(({ type, data }) => bytes(u16(type), vector16(data))));
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function latin1(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Uint8Array.from(Buffer.from(text, "latin1")) : text;
}
