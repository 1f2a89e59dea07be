import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");

/** So that only what is alive counts in the heap: what is garbage, and how much, depends on when V8 last looked. */
export const collectGarbage = runInNewContext("gc") as () => void;
