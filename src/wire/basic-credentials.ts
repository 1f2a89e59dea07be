/** Credentials of the Basic scheme, as Proxy-Authorization has them (RFC 7617). */

export type BasicCredentials = { readonly user: string; readonly password: string };

/** Undefined for another scheme, and for whatever is no `user:password` in canonical base64 of UTF-8. */
export function parseBasicCredentials(value: string): BasicCredentials | undefined {
  const [, token = ""] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(value) ?? [];
  const bytes = Buffer.from(token, "base64");
  if (token === "" || bytes.toString("base64") !== token) return undefined;
  const text = bytes.toString("utf8");
  // U+FFFD: bytes that are no UTF-8, or somebody who means them. Both are nobody.
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\ufffd]/.test(text)) return undefined;
  const colon = text.indexOf(":");
  return colon < 1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
