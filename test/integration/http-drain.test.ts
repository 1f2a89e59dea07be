/** SIGTERM while plain HTTP is under way: what runs may finish, what is idle is closed, and the process ends. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PlainHttp, readBody, requestFor, startPlainHttp } from "../support/plain-http.ts";
import { connectRaw } from "../support/raw-http.ts";

let plain: PlainHttp;
beforeAll(async () => {
  plain = await startPlainHttp();
});
afterAll(() => plain.stop());

test("a download under way is finished, an idle connection closed, a new request refused", async () => {
  plain.scripts.set("/held", ({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
  });
  const index = plain.origin.connections();
  const busy = await plain.connect();
  busy.send(requestFor("/held"));
  const head = await busy.readHead();
  expect(head.headers.get("connection")).toBe("keep-alive");
  const idle = await plain.connect();
  idle.send(requestFor("/first"));
  await readBody(idle, await idle.readHead());

  const exited = new Promise<number | null>((fulfil) => plain.sallyport.process.once("exit", fulfil));
  plain.sallyport.process.kill("SIGTERM");
  expect(await idle.waitClose()).toBe("fin");
  // Refused, or cut off where the kernel had accepted it already.
  await expect(connectRaw(plain.sallyport.port).then((late) => late.readHead())).rejects.toThrow();
  (await plain.origin.recording(index)).socket.end("lf");
  expect((await busy.readBytes(4)).toString()).toBe("half");
  expect(await busy.waitClose()).toBe("fin");
  expect(await exited).toBe(0);
  expect(plain.sallyport.log.some((line) => line["event"] === "drain")).toBe(true);
});
