/** How long to wait before a worker that has ended is started again: at once, or ever longer where it keeps ending. */

export type RestartDelay = {
  /** Milliseconds to wait, now that one has ended after so long a life. */
  readonly after: (livedMs: number) => number;
};

/** A worker that has lived so long was well. */
const healthyMs = 10_000;
const firstMs = 100;
const longestMs = 30_000;

export function createRestartDelay(): RestartDelay {
  let shortLives = 0;
  return {
    after(livedMs) {
      shortLives = livedMs >= healthyMs ? 0 : shortLives + 1;
      return shortLives === 0 ? 0 : Math.min(longestMs, firstMs * 2 ** Math.min(shortLives - 1, 16));
    },
  };
}
