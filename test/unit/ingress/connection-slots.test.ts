/** Files for connections, for refusals and for the process itself never come to more than there are. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openFilesFor, shareOpenFiles } from "../../../src/ingress/connection-slots.ts";

describe("the limit on open files", () => {
  test.each([
    ["has room for all", 20_000, 65_536, { connections: 20_000, refusals: 1024 }],
    ["is just enough", 20_000, 41_200, { connections: 20_000, refusals: 1024 }],
    ["is one short", 20_000, 41_199, { connections: 19_999, refusals: 1024 }],
    ["is that of many a shell", 20_000, 1024, { connections: 371, refusals: 106 }],
    ["is tiny", 20_000, 128, { connections: 42, refusals: 12 }],
    ["is tiny, and nobody wants more", 20, 128, { connections: 20, refusals: 56 }],
    ["is absurd", 20_000, 1, { connections: 1, refusals: 1 }],
    ["is none, or not known", 20_000, undefined, { connections: 20_000, refusals: 1024 }],
  ])("%s", (_, connections, openFiles, slots) => {
    expect(shareOpenFiles(connections, openFiles)).toEqual(slots);
  });

  test("is never spent twice, and a seventh of it is left for the process itself", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.integer({ min: 32, max: 2_000_000 }), (wanted, files) => {
        const { connections, refusals } = shareOpenFiles(wanted, files);
        expect(2 * connections + refusals + Math.min(176, files / 7)).toBeLessThanOrEqual(files);
        expect(connections).toBeLessThanOrEqual(wanted);
        if (files >= openFilesFor(wanted))
          expect({ connections, refusals }).toEqual({ connections: wanted, refusals: 1024 });
      }),
    );
  });
});
