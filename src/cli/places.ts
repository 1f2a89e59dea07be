/** Where a rule stands, as it is told to a person. */
import { isAbsolute, relative } from "node:path";
import type { PlaceText } from "../review/explanation.ts";

/** Paths below the directory are told relative to it, others in full. */
export function placesFrom(directory: string): PlaceText {
  return ({ rule: { place } }) => {
    const short = relative(directory, place.file);
    const isBelow = isAbsolute(place.file) && !short.startsWith("..") && !isAbsolute(short);
    return `${isBelow ? short : place.file}:${place.line}`;
  };
}
