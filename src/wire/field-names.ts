/** Names of fields that everybody sends: found where they stand in a head, so that no string is made for each of them. */

export type KnownName = {
  readonly spelling: string;
  /** In lower case. */
  readonly folded: string;
};

/** The name of this length at `at`, when it is one of the known ones and spelled as such. */
export function knownNameAt(text: string, at: number, length: number): KnownName | undefined {
  const key = keyOf(length, text.charCodeAt(at), text.charCodeAt(at + length - 1));
  const bucket = buckets[key];
  if (bucket === undefined) return undefined;
  for (let i = 0; i < bucket.length; i++) {
    const known = bucket[i];
    if (known !== undefined && known.spelling.length === length && text.startsWith(known.spelling, at)) return known;
  }
  return undefined;
}

/** A name in lower case. */
export function foldName(name: string): string {
  return knownNameAt(name, 0, name.length)?.folded ?? name.toLowerCase();
}

const names = `
Accept Accept-Encoding Accept-Language Accept-Ranges Age Authorization Cache-Control Connection Content-Disposition
Content-Encoding Content-Length Content-Range Content-Type Cookie DNT Date ETag Expect Expires Host If-Match
If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive Last-Modified Location MS-CV Max-Forwards Origin
Pragma Proxy-Authorization Proxy-Connection Range Referer Retry-After Server Set-Cookie Strict-Transport-Security TE
Trailer Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Vary Via X-Cache X-Forwarded-For X-Powered-By
`
  .trim()
  .split(/\s+/);

const bucketCount = 512;
const buckets: readonly (readonly KnownName[] | undefined)[] = fill();

function fill(): (KnownName[] | undefined)[] {
  const filled: (KnownName[] | undefined)[] = Array.from({ length: bucketCount }, () => undefined);
  for (const name of names) {
    const folded = name.toLowerCase();
    for (const spelling of [name, folded]) {
      const key = keyOf(spelling.length, spelling.charCodeAt(0), spelling.charCodeAt(spelling.length - 1));
      (filled[key] ??= []).push({ spelling, folded });
    }
  }
  return filled;
}

function keyOf(length: number, first: number, last: number): number {
  return (length * 37 + first * 5 + last) % bucketCount;
}
