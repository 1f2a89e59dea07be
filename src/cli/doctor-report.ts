/** What `doctor` has found, step by step, and how that is told. */
import { counted } from "./terminal.ts";

/** `skipped` is a step that cannot be done from here. */
export type Finding = {
  readonly step: DoctorStep;
  readonly status: "ok" | "warning" | "problem" | "skipped";
  /** What was seen. */
  readonly said: string;
  /** What to do; empty where nothing is. */
  readonly todo: string;
};

export type DoctorStep =
  | "configuration"
  | "limits"
  | "log"
  | "clock"
  | "listener"
  | "admin"
  | "resolve"
  | "denied"
  | "allowed";

export function fine(step: DoctorStep, said: string): Finding {
  return { step, status: "ok", said, todo: "" };
}

export function wrong(step: DoctorStep, said: string, todo: string): Finding {
  return { step, status: "problem", said, todo };
}

export function doubtful(step: DoctorStep, said: string, todo: string): Finding {
  return { step, status: "warning", said, todo };
}

export function skipped(step: DoctorStep, said: string): Finding {
  return { step, status: "skipped", said, todo: "" };
}

export function isHealthy(findings: readonly Finding[]): boolean {
  return findings.every(({ status }) => status !== "problem");
}

/** A line for each step, with what to do below it. */
export function doctorText(findings: readonly Finding[]): string {
  const lines = findings.map(({ step, status, said, todo }) => {
    const mark = { ok: "ok", warning: "warning", problem: "PROBLEM", skipped: "skipped" }[status];
    const next = todo === "" ? "" : `${" ".repeat(24)}-> ${plain(todo)}\n`;
    return `${mark.padEnd(8)} ${step.padEnd(14)} ${plain(said)}\n${next}`;
  });
  const problems = findings.filter(({ status }) => status === "problem").length;
  const warnings = findings.filter(({ status }) => status === "warning").length;
  const end = problems > 0 ? `${counted(problems, "problem")} found` : "nothing is wrong";
  return `${lines.join("")}\n${end}${warnings > 0 ? `, ${counted(warnings, "warning")}` : ""}\n`;
}

/** What comes from the network must not steer the terminal. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
