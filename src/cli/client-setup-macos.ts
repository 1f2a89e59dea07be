/** How macOS is told of the proxy: a setting of each network service, and what daemons read. */
import { type ProxyWay, type Setup, type SetupStep, proxyUrl } from "./setup-step.ts";

const manual = "networksetup(8)";

export function macosSetup(way: ProxyWay): Setup {
  return {
    shell: "a shell, as an administrator; Wi-Fi stands for the network service, and each one has settings of its own",
    steps: [way.pac === undefined ? fixed(way) : byPac(way.pac), shells(way), git(way)],
    agents: [
      "softwareupdate and all that uses macOS' own networking read the first setting [networksetup]",
      "Automox on macOS: that its agent follows the system's setting is not verified",
    ],
  };
}

function fixed({ host, port }: ProxyWay): SetupStep {
  const bare = host.replace(/^\[|\]$/g, "");
  return {
    title: "the proxy of a network service",
    reads: "everything that uses macOS' own networking: software updates, Safari, Chrome",
    commands: [
      "networksetup -listallnetworkservices",
      `sudo networksetup -setwebproxy Wi-Fi ${bare} ${port}`,
      `sudo networksetup -setsecurewebproxy Wi-Fi ${bare} ${port}`,
    ],
    undo: ["sudo networksetup -setwebproxystate Wi-Fi off", "sudo networksetup -setsecurewebproxystate Wi-Fi off"],
    look: ["networksetup -getwebproxy Wi-Fi", "scutil --proxy"],
    notes: [],
    sources: [manual],
  };
}

function byPac(pac: string): SetupStep {
  return {
    title: "the PAC of a network service",
    reads: "everything that uses macOS' own networking: software updates, Safari, Chrome",
    commands: [
      "networksetup -listallnetworkservices",
      `sudo networksetup -setautoproxyurl Wi-Fi ${pac}`,
      "sudo networksetup -setautoproxystate Wi-Fi on",
    ],
    undo: ["sudo networksetup -setautoproxystate Wi-Fi off"],
    look: ["networksetup -getautoproxyurl Wi-Fi", "scutil --proxy"],
    notes: ["with an MDM, the Network Proxy payload does the same for all network services"],
    sources: [manual],
  };
}

function shells(way: ProxyWay): SetupStep {
  const names = ["http_proxy", "https_proxy"];
  return {
    title: "environment variables of the session",
    reads: "curl, git, npm and what else looks at https_proxy",
    commands: names.map((name) => `launchctl setenv ${name} ${proxyUrl(way)}`),
    undo: names.map((name) => `launchctl unsetenv ${name}`),
    look: ["launchctl getenv https_proxy"],
    notes: [
      "until the machine is started anew, and for programs that are started after it; a daemon has EnvironmentVariables in its own property list",
    ],
    sources: ["launchctl(1), launchd.plist(5)"],
  };
}

function git(way: ProxyWay): SetupStep {
  return {
    title: "git",
    reads: "git over http and https",
    commands: [`sudo git config --system http.proxy ${proxyUrl(way)}`],
    undo: ["sudo git config --system --unset http.proxy"],
    look: ["git config --get http.proxy"],
    notes: [],
    sources: ["git-config(1), http.proxy"],
  };
}
