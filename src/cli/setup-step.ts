/** What a machine is told so that it uses the proxy: one setting a step, with who reads it and how to take it back. */

export type SetupStep = {
  readonly title: string;
  /** Which programs and agents read this setting. */
  readonly reads: string;
  /** As they are typed; `shell` says where. */
  readonly commands: readonly string[];
  /** Takes it back. */
  readonly undo: readonly string[];
  /** Shows what is set. */
  readonly look: readonly string[];
  readonly notes: readonly string[];
  /** Where it is documented; docs/agents.md lists those in brackets. */
  readonly sources: readonly string[];
};

/** Where clients find the proxy, in characters that mean nothing to any shell. */
export type ProxyWay = {
  /** IPv6 in brackets. */
  readonly host: string;
  readonly port: number;
  /** Of the PAC; undefined where none is served. */
  readonly pac: string | undefined;
};

export type Setup = {
  /** Where all commands are typed. */
  readonly shell: string;
  readonly steps: readonly SetupStep[];
  /** Settings of agents that have their own. */
  readonly agents: readonly string[];
};

/** `proxy.corp.example:3128` */
export function hostPort({ host, port }: ProxyWay): string {
  return `${host}:${port}`;
}

/** `http://proxy.corp.example:3128` */
export function proxyUrl(way: ProxyWay): string {
  return `http://${hostPort(way)}`;
}
