/** The command line of `npm run bench:load`. */
import { parseArgs } from "node:util";
import { type Work, works } from "./plan.ts";

export type Options = {
  readonly works: readonly Work[];
  readonly rounds: number;
  /** How long each sample of a busy work lasts. */
  readonly sampleMs: number;
  readonly idleTunnels: number;
  readonly quick: boolean;
  /** Peers by name; all that are installed where empty. */
  readonly peers: readonly string[];
  /** More checkouts of Sallyport, to be measured beside this one. */
  readonly checkouts: readonly string[];
  readonly workers: number | undefined;
  /** Undefined: the results of this run, in a file that git ignores. */
  readonly json: string | undefined;
  /** Only redraw the pictures from the results that are there. */
  readonly draw: boolean;
};

export const peers = ["squid", "tinyproxy", "forwarder"] as const;

export const usage = `npm run bench:load -- [options]
  --quick            two short rounds: to see that it works, not for figures
  --rounds N         5 where not given
  --only WORK        ${works.join(", ")}; may be repeated
  --with NAME        ${peers.join(", ")}; may be repeated; all where not given
  --sallyport DIR    another checkout with a dist/, beside this one; may be repeated
  --workers N        also a Sallyport with so many workers, and what that brings
  --json FILE        where the results go
  --draw             only draw the pictures anew, from the published results or those of --json`;

/** The options, or what is wrong with them. */
export function readOptions(argv: readonly string[]): Options | { readonly problem: string } {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        quick: { type: "boolean", default: false },
        draw: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        rounds: { type: "string" },
        workers: { type: "string" },
        json: { type: "string" },
        only: { type: "string", multiple: true, default: [] },
        with: { type: "string", multiple: true, default: [] },
        sallyport: { type: "string", multiple: true, default: [] },
      },
    }));
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
  if (values.help) return { problem: usage };
  const { quick, only } = values;
  const chosen = works.filter((work) => only.length === 0 || only.includes(work));
  const unknown = [
    ...only.filter((name) => !isOneOf(works, name)),
    ...values.with.filter((name) => !isOneOf(peers, name)),
  ];
  const rounds = Number(values.rounds ?? (quick ? 2 : 5));
  const workers = values.workers === undefined ? undefined : Number(values.workers);
  if (unknown.length > 0) return { problem: `unknown: ${unknown.join(", ")}\n${usage}` };
  if (!isCount(rounds) || (workers !== undefined && !isCount(workers))) {
    return { problem: "--rounds and --workers are whole numbers from 1 to 64" };
  }
  return {
    works: chosen,
    rounds,
    sampleMs: quick ? 600 : 2_500,
    idleTunnels: quick ? 500 : 2_000,
    quick,
    peers: values.with.length === 0 ? peers : values.with,
    checkouts: values.sallyport,
    workers,
    json: values.json,
    draw: values.draw,
  };
}

function isOneOf(names: readonly string[], name: string): boolean {
  return names.includes(name);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 64;
}
