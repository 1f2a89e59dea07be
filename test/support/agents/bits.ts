/**
 * BITS fetching a Defender definition. `HEAD` for the size, then a ranged `GET` with `If-Unmodified-Since`,
 * `Accept-Encoding: identity`, User-Agent `Microsoft BITS/7.8` (header sets from captures in public third-party text;
 * what the server must support is Microsoft's "HTTP requirements for BITS downloads").
 */
import { definitionUpdate } from "../lab/file-server.ts";
import { type Step, type Surroundings, stepOf } from "./proxied.ts";

const url = `http://au.download.windowsupdate.com${definitionUpdate.path}`;
const agent = ["User-Agent", "Microsoft BITS/7.8"] as const;

/** The last step is a job whose file has changed since its HEAD. */
export async function runBits(around: Surroundings): Promise<readonly Step[]> {
  const head = await stepOf(around, url, {
    method: "HEAD",
    fields: [["Connection", "Keep-Alive"], ["Accept", "*/*"], ["Accept-Encoding", "identity"], agent],
  });
  const size = Number(head.answer?.fields["content-length"]);
  const piece = (unmodifiedSince: string): Promise<Step> =>
    stepOf(around, url, {
      method: "GET",
      fields: [
        ["Accept-Encoding", "identity"],
        ["If-Unmodified-Since", unmodifiedSince],
        ["Range", `bytes=0-${size - 1}`],
        agent,
      ],
    });
  return [head, await piece(head.answer?.fields["last-modified"] ?? ""), await piece("Tue, 24 Nov 2020 00:00:00 GMT")];
}
