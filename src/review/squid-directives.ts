/** Directives of squid.conf beside `acl` and `http_access`: where their counterpart is, if there is one. */
import type { ImportEffect, ImportFinding, SourceLine } from "./import-report.ts";

type Counterpart = readonly [effect: ImportEffect, message: string];

/** Directives that have a bearing on who may reach what; all others are about caching, logs and performance. */
const counterparts: Readonly<Record<string, Counterpart>> = {
  http_port: ["note", "listeners are in sallyport.yaml: listen"],
  https_port: ["note", "listeners are in sallyport.yaml: listen"],
  dns_nameservers: ["note", "resolvers are in sallyport.yaml: dns.servers"],
  hosts_file: ["note", "the system's hosts file is read; names of your own are in sallyport.yaml: dns.hosts"],
  access_log: ["note", "the log is in sallyport.yaml: log"],
  cache_peer: ["unclear", "parent proxies are in sallyport.yaml: parents"],
  cache_peer_access: ["unclear", "parent proxies are in sallyport.yaml: parents"],
  cache_peer_domain: ["unclear", "parent proxies are in sallyport.yaml: parents"],
  never_direct: ["unclear", "parent proxies are in sallyport.yaml: parents"],
  always_direct: ["unclear", "parent proxies are in sallyport.yaml: parents"],
  tcp_outgoing_address: ["unclear", "the address of outgoing connections is the system's to choose"],
  auth_param: ["wider", "credentials are not asked for; groups tell clients apart by address"],
  external_acl_type: ["unclear", "no helpers are asked"],
  url_rewrite_program: ["unclear", "no helpers are asked, and no URL is changed"],
  store_id_program: ["note", "nothing is cached"],
  http_reply_access: ["wider", "answers are not judged"],
  reply_body_max_size: ["wider", "the size of answers is not limited"],
  request_body_max_size: ["wider", "the size of requests is not limited"],
  adapted_http_access: ["wider", "there is no adaptation, and no second list"],
  adaptation_access: ["wider", "there is no adaptation (ICAP, eCAP): no content is looked at"],
  icap_enable: ["wider", "there is no adaptation (ICAP, eCAP): no content is looked at"],
  icap_service: ["wider", "there is no adaptation (ICAP, eCAP): no content is looked at"],
  ssl_bump: ["note", "TLS is never opened; the server name is judged by sni"],
  sslproxy_cert_error: ["note", "TLS is never opened, so certificates are the client's to judge"],
  miss_access: ["wider", "there is one list of who may reach what"],
  delay_access: ["wider", "bandwidth is not limited"],
  delay_pools: ["wider", "bandwidth is not limited"],
  request_header_access: ["wider", "header fields are forwarded; Range has its own condition"],
  reply_header_access: ["wider", "header fields are forwarded"],
  follow_x_forwarded_for: ["unclear", "a client is who connects: PROXY protocol tells of others"],
  client_ip_max_connections: ["note", "limits.per_client in sallyport.yaml, or per_client of a group"],
};

/** Those that are about caching, logs and performance are not mentioned. */
export function otherDirectives(
  others: readonly { readonly name: string; readonly at: SourceLine }[],
): readonly ImportFinding[] {
  return others.flatMap(({ name, at }) => {
    const [effect, message] = Object.hasOwn(counterparts, name) ? (counterparts[name] ?? []) : [];
    return effect === undefined || message === undefined ? [] : [{ at, effect, message }];
  });
}
