/** How many connections the limit on open files leaves room for: who comes late is to be told, not cut off. */

export type ConnectionSlots = {
  /** Clients that are served at a time. */
  readonly connections: number;
  /** Refused connections that may linger at a time, so that they can be told why. */
  readonly refusals: number;
};

/** They count in no limit and live for seconds: what is beyond is reset, or a flood of them would take every file. */
const maxRefusals = 1024;
/** Listeners, the admin server, the log, DNS, and whatever is between two owners. */
const ownFiles = 176;
/** A tunnel or a request: the client's side and the origin's. */
const filesPerConnection = 2;

/**
 * Shares out the files that the process may open; undefined is no limit, or none that is known. Where they do not
 * suffice, a quarter at most is kept for the process itself and an eighth of the rest for refusals.
 */
export function shareOpenFiles(connections: number, openFiles: number | undefined): ConnectionSlots {
  if (openFiles === undefined) return { connections, refusals: maxRefusals };
  const shared = openFiles - Math.min(ownFiles, Math.floor(openFiles / 4));
  const keptForRefusals = Math.min(maxRefusals, Math.floor(shared / 8));
  const most = Math.max(1, Math.floor((shared - keptForRefusals) / filesPerConnection));
  const served = Math.min(connections, most);
  return { connections: served, refusals: Math.min(maxRefusals, Math.max(1, shared - filesPerConnection * served)) };
}

/** The limit on open files that serves so many connections, with room to refuse others. */
export function openFilesFor(connections: number): number {
  return filesPerConnection * connections + maxRefusals + ownFiles;
}
