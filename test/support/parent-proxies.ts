/** Parent proxies for tests: one that answers by script, and credentials for it in a file. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Recording, type TcpOrigin, startTcpOrigin } from "./tls-origin.ts";

/** What the parent does with a request: bytes that it sends (latin1), or anything else. Null answers nothing. */
export type ParentScript = string | Buffer | ((recording: Recording) => void) | null;

export type ScriptedParent = {
  readonly origin: TcpOrigin;
  readonly port: number;
  /** By the host that is asked for, without its port; any other is refused with 500. */
  readonly scripts: Map<string, ParentScript>;
  /** The heads that it was sent on one connection, in order. */
  readonly headsOn: (connection: number) => string[];
  readonly close: () => Promise<void>;
};

/** Answers every head of a connection, one after the other, until a tunnel is open. Bodies are taken for none. */
export async function startScriptedParent(): Promise<ScriptedParent> {
  const scripts = new Map<string, ParentScript>();
  const origin = await startTcpOrigin((recording) => {
    let answered = 0;
    recording.socket.on("data", () => {
      const heads = headsIn(recording);
      for (; answered < heads.length; answered++) {
        const [, host = ""] = /^\S+ (?:http:\/\/)?([^:/ ]+)/.exec(heads[answered] ?? "") ?? [];
        const script = scripts.get(host);
        if (typeof script === "function") script(recording);
        else if (script !== null) recording.socket.write(toBytes(script ?? "HTTP/1.1 500 No script\r\n\r\n"));
        if (heads[answered]?.startsWith("CONNECT")) answered = Number.MAX_SAFE_INTEGER - 1;
      }
    });
    recording.socket.on("end", () => recording.socket.end());
  });
  return {
    origin,
    port: origin.port,
    scripts,
    headsOn: (connection) => {
      const recording = origin.recordings[connection];
      return recording === undefined ? [] : headsIn(recording);
    },
    close: origin.close,
  };
}

/** A file that holds these credentials, in a directory of its own. */
export function credentialsFile(text: string): { readonly path: string; readonly remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-parent-"));
  const path = join(directory, "parent.credentials");
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

function headsIn(recording: Recording): string[] {
  return recording
    .bytes()
    .toString("latin1")
    .split("\r\n\r\n")
    .slice(0, -1)
    .filter((head) => /^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(head));
}

function toBytes(script: string | Buffer): Buffer {
  return typeof script === "string" ? Buffer.from(script, "latin1") : script;
}
