/**
 * The Datto RMM agent: port 443 to the platform's hosts, and a control channel that is never closed and "may be inactive
 * for up to 180 seconds at a time" (Whitelisting requirements); it needs an ECDHE_RSA suite with AES. The names and paths
 * (`/cs/version`, `/cagupdate/UpdateState.xml`, platform Concord) are those that Datto's own diagnostic components test.
 * Remote takeover goes to a tunnel server in "an encrypted connection" of which no document says that it is TLS.
 */
import { once } from "node:events";
import { controlChannel } from "../lab/lab.ts";
import {
  type Question,
  type Step,
  type Surroundings,
  askSecurely,
  converse,
  hangUp,
  openTunnel,
  secure,
} from "./proxied.ts";

export type Channel = {
  /** Bytes out, and the same bytes back. */
  readonly talk: (said: string) => Promise<string>;
  /** Says nothing more, and resolves when the channel is closed, whoever closed it. */
  readonly untilClosed: () => Promise<void>;
  readonly hangUp: () => Promise<void>;
};

const question: Question = { method: "GET", fields: [["Accept", "*/*"]] };

export async function runDatto(around: Surroundings): Promise<readonly Step[]> {
  const channel = await openChannel(around);
  const steps = [
    await askSecurely(around, "https://concord-agent.centrastage.net/cs/version", question),
    await askSecurely(around, "https://update-concord.centrastage.net/cagupdate/UpdateState.xml", question),
    await askSecurely(around, "https://cpt-concord.centrastage.net.s3.amazonaws.com/lab/component", question),
    await takeOver(around),
  ];
  const heard = await channel.talk("is there anything to do?");
  await channel.hangUp();
  return [
    ...steps,
    {
      asked: `CONNECT ${controlChannel}:443, then bytes in TLS, late`,
      answered: `${heard.length} bytes, as they were sent`,
      heard,
    },
  ];
}

/** The control channel, or, to see what becomes of it, one to another host of the lab. */
export async function openChannel(around: Surroundings, host = controlChannel): Promise<Channel> {
  const tunnel = await openTunnel(around, `${host}:443`);
  const socket = await secure(around, tunnel, host, { maxVersion: "TLSv1.2" });
  return {
    talk: (said) => converse(socket, said),
    untilClosed: async () => {
      const closed = once(socket, "close");
      socket.resume();
      await closed;
    },
    hangUp: () => hangUp(socket),
  };
}

async function takeOver(around: Surroundings): Promise<Step> {
  const socket = await openTunnel(around, "ts.centrastage.net:443");
  const heard = await converse(socket, "\u0001 not TLS");
  await hangUp(socket);
  return {
    asked: "CONNECT ts.centrastage.net:443, then bytes",
    answered: `${heard.length} bytes, as they were sent`,
    heard,
  };
}
