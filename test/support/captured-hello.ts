/** Hellos as Node's own TLS stack (OpenSSL) sends them. */
import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";
import {
  type ConnectionOptions,
  type TlsOptions,
  connect as connectTls,
  createServer as createTlsServer,
} from "node:tls";

/** The record that a TLS client sends first. */
export async function captureClientHello(options: ConnectionOptions): Promise<Uint8Array> {
  const server = createServer();
  const port = await listen(server);
  const client = connectTls({ ...options, host: "127.0.0.1", port });
  client.on("error", () => {});
  const [accepted] = (await once(server, "connection")) as [Socket];
  accepted.on("error", () => {});
  const chunks: Buffer[] = [];
  for await (const chunk of accepted) {
    chunks.push(chunk as Buffer);
    const seen = Buffer.concat(chunks);
    if (seen.length >= 5 && seen.length >= 5 + seen.readUInt16BE(3)) break;
  }
  client.destroy();
  accepted.destroy();
  server.close();
  return Uint8Array.from(Buffer.concat(chunks));
}

/**
 * What a TLS server has sent when the handshake is over, for better or worse. Without a certificate the two ends need
 * cipher suites that do without one.
 */
export async function captureServerFlight(
  clientOptions: ConnectionOptions,
  serverOptions: TlsOptions,
): Promise<Uint8Array> {
  const server = createTlsServer(serverOptions);
  server.on("tlsClientError", () => {});
  server.on("secureConnection", (socket) => socket.on("error", () => {}));
  const serverPort = await listen(server);
  const chunks: Buffer[] = [];
  const tap = createServer((near) => {
    const far = connect(serverPort, "127.0.0.1");
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    far.on("data", (chunk) => chunks.push(chunk));
    near.pipe(far).pipe(near);
  });
  const client = connectTls({ ...clientOptions, host: "127.0.0.1", port: await listen(tap) });
  client.on("error", () => {});
  await new Promise<void>((resolve) => client.once("secureConnect", resolve).once("close", () => resolve()));
  client.destroy();
  tap.close();
  server.close();
  await Promise.all([once(tap, "close"), once(server, "close")]);
  return Uint8Array.from(Buffer.concat(chunks));
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
