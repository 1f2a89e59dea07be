/**
 * A worker that ends with a listener on its way to it: `node test/support/unanswered-listener.mjs URL`, where the URL is
 * that of the built `workers/member.js`. It asks for the listener, says so, and takes nothing more from its channel; the
 * primary then kills it, and prints how it ended and which workers node:cluster still knows. Not TypeScript: to compile
 * that in each process takes ten seconds on a busy machine.
 */
import cluster from "node:cluster";
import { createServer } from "node:net";

if (cluster.isPrimary) {
  const { startMember } = await import(process.argv[2]);
  const member = startMember({
    // What was asked before it has been answered before it: the listener has been sent by now.
    onMessage: () => member.kill(),
    onEnd: (how) => console.log(JSON.stringify({ how, known: Object.keys(cluster.workers) })),
  });
} else {
  createServer().listen(0);
  process.send({ kind: "hello" });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
