/**
 * The Automox agent: "All agent communications take place over port 443 (https)", revocation of its certificates on
 * port 80, files of policies from one bucket (Agent Firewall Allowlisting Rules). `/api/cache?cmd=…` is how installers
 * fetch the agent (third-party text); the other paths are the lab's.
 */
import { checkByOcsp } from "./crypto-api.ts";
import { type Question, type Step, type Surroundings, askSecurely } from "./proxied.ts";

const question: Question = {
  method: "GET",
  fields: [
    ["User-Agent", "amagent"],
    ["Accept", "*/*"],
  ],
};

export async function runAutomox(around: Surroundings): Promise<readonly Step[]> {
  return [
    await checkByOcsp(around, "ocsp.digicert.com"),
    await askSecurely(
      around,
      "https://api.automox.com/api/cache?cmd=downloadLatestVersion&name=AgentUI&os=Mac&arch=64",
      question,
    ),
    await askSecurely(around, "https://storage-cdn.prod.automox.com/lab/package", question),
    await askSecurely(around, "https://automox-policy-files.s3.us-west-2.amazonaws.com/lab/policy", question),
  ];
}
