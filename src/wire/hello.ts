/** What a TLS hello says, as far as it is decided on. Filled by `client-hello` and `server-hello`. */
import type { RecordWalk } from "./handshake.ts";

/** Facts of one complete ClientHello (RFC 8446 section 4.1.2). */
export type ClientHello = {
  readonly kind: "hello";
  /** The server name as sent, byte for byte as latin1; null without the extension. */
  readonly serverName: string | null;
  /** Highest version offered, GREASE left out: supported_versions where present, else legacy_version. 0x0300 is SSL 3. */
  readonly maxVersion: number;
  /** Protocols of ALPN, GREASE left out, at most 16, latin1. */
  readonly alpn: readonly string[];
  /** encrypted_client_hello (0xfe0d) or its ESNI predecessor (0xffce) is present. */
  readonly ech: boolean;
  /** Bytes of the peeked prefix that the hello fills, record headers included. */
  readonly length: number;
};

/** A prefix of a tunnel, judged: `incomplete` asks for more bytes. */
export type HelloReading =
  | ClientHello
  /** `walk` may be handed in with a longer prefix, so that no record header is read twice; without it the answer is the same. */
  | { readonly kind: "incomplete"; readonly walk: RecordWalk }
  /** The first byte is no handshake record: another protocol, or SSL 2. */
  | { readonly kind: "not_tls" }
  /** `detail` is a short constant for log and tests. */
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "too_large" };

/** The server's first flight, judged from its prefix. */
export type ServerHelloReading =
  | {
      readonly kind: "hello";
      /** The negotiated version: supported_versions where present (RFC 8446 section 4.2.1), else legacy_version. */
      readonly version: number;
    }
  /** More bytes are needed; the first `pass` bytes are whole plaintext alert records, which may go to the client. */
  | { readonly kind: "incomplete"; readonly pass: number }
  /** Anything else than a ServerHello. */
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "too_large" };
