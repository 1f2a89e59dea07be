/** Fatal TLS alerts: how a tunnel that is cut says why, before a key exists (RFC 8446 section 6.2). */

/** ContentType `alert`. */
export const alertRecord = 21;

/** The descriptions that a denial is told with (interface.md, "Refusals"). */
export const alerts = {
  access_denied: 49,
  decode_error: 50,
  protocol_version: 70,
  internal_error: 80,
  unrecognized_name: 112,
} as const;

const fatal = 2;

/**
 * One record with a fatal alert, 7 bytes. Clients of every version from TLS 1.0 on read a first record of 0x0301; TLS
 * 1.3 ignores the version (RFC 8446 section 5.1).
 */
export function alertBytes(description: number, recordVersion = 0x0301): Uint8Array {
  return Uint8Array.of(alertRecord, recordVersion >> 8, recordVersion & 0xff, 0, 2, fatal, description);
}

/** The alert that tells a denial of a tunnel; undefined where the other side speaks no TLS and would not read one. */
export function alertOfReason(reason: string): number | undefined {
  switch (reason) {
    case "not_tls":
    case "hello_timeout":
      return undefined;
    case "sni_missing":
    case "sni_mismatch":
      return alerts.unrecognized_name;
    case "tls_version":
    case "tls_downgrade":
      return alerts.protocol_version;
    case "hello_malformed":
      return alerts.decode_error;
    default:
      return alerts.access_denied;
  }
}
