/** How Windows is told of the proxy: the system's setting, the device-wide one, and what services read. */
import { type ProxyWay, type Setup, type SetupStep, hostPort, proxyUrl } from "./setup-step.ts";

const internetSettings = String.raw`SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings`;
const internetPolicies = String.raw`SOFTWARE\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`;

const netsh = "Microsoft, Netsh.exe commands: https://learn.microsoft.com/windows/win32/winhttp/netsh-exe-commands";
const deliveryProxy =
  "Microsoft, Using a proxy with Delivery Optimization: https://learn.microsoft.com/windows/deployment/do/delivery-optimization-proxy";
const virtualDesktop =
  "Microsoft, Proxy server guidelines for Azure Virtual Desktop: https://learn.microsoft.com/azure/virtual-desktop/proxy-server-support";

/** Two of the steps belong together: without the second, Delivery Optimization goes around the first. */
export function windowsSetup(way: ProxyWay): Setup {
  return {
    shell: "an elevated Command Prompt (cmd.exe; PowerShell quotes otherwise)",
    steps: [
      winHttp(way),
      deviceWide(way),
      ...(way.pac === undefined ? [] : [signedInUser(way.pac)]),
      bits(way),
      services(way),
    ],
    agents: [
      `Trend Micro Workload Security has settings of its own, before it is activated: "%ProgramFiles%\\Trend Micro\\Deep Security Agent\\dsa_control" -x dsm_proxy://${hostPort(way)}/ and -y relay_proxy://${hostPort(way)}/ [Trend scripts, third-party]`,
      `Datto RMM has a proxy for each site in its portal: type http, host ${way.host}, port ${way.port} [Datto API, third-party]; its own checks of tunnels and control channels do not use the proxy, and report failures that are none [Datto components, third-party]`,
      "Automox, Action1, Splashtop and Automation Anywhere: no document of theirs says which setting the agent reads (not verified); docs/agents.md says how to see it",
    ],
  };
}

function winHttp(way: ProxyWay): SetupStep {
  const settings = (proxy: string, pac: string): string =>
    `netsh winhttp set advproxy setting-scope=machine settings={\\"Proxy\\":\\"${proxy}\\",\\"ProxyBypass\\":\\"\\",\\"AutoconfigUrl\\":\\"${pac}\\",\\"AutoDetect\\":false}`;
  return {
    title: "WinHTTP, the system's own setting",
    reads:
      "the scan of Windows Update [WU]; WSUS clients since January 2021 [WSUS proxy]; Delivery Optimization while nobody is signed in [DO proxy]; services that use WinHTTP's default",
    commands: [`netsh winhttp set proxy ${hostPort(way)} "<local>"`],
    undo: ["netsh winhttp reset proxy"],
    look: ["netsh winhttp show proxy"],
    notes: [
      `on Windows 11, where Microsoft calls "set proxy" deprecated, instead: ${settings(hostPort(way), "")}`,
      ...(way.pac === undefined ? [] : [`the same with the PAC, which "set proxy" cannot: ${settings("", way.pac)}`]),
      `back to nothing for "set advproxy": ${settings("", "")}; "netsh winhttp show advproxy" shows it`,
    ],
    sources: [netsh, "docs/agents.md [WU], [WSUS proxy]"],
  };
}

function deviceWide(way: ProxyWay): SetupStep {
  const values =
    way.pac === undefined
      ? [
          `reg add "HKLM\\${internetSettings}" /v ProxyEnable /t REG_DWORD /d 1 /f`,
          `reg add "HKLM\\${internetSettings}" /v ProxyServer /t REG_SZ /d ${hostPort(way)} /f`,
        ]
      : [`reg add "HKLM\\${internetSettings}" /v AutoConfigURL /t REG_SZ /d ${way.pac} /f`];
  const names = way.pac === undefined ? ["ProxyServer", "ProxyEnable"] : ["AutoConfigURL"];
  return {
    title: "the device-wide Internet Explorer setting, for all users and accounts",
    reads:
      "Delivery Optimization, signed in or not: while a user is signed in it ignores netsh [DO proxy]; browsers and all that uses WinINET",
    commands: [`reg add "HKLM\\${internetPolicies}" /v ProxySettingsPerUser /t REG_DWORD /d 0 /f`, ...values],
    undo: [
      ...names.map((name) => `reg delete "HKLM\\${internetSettings}" /v ${name} /f`),
      `reg delete "HKLM\\${internetPolicies}" /v ProxySettingsPerUser /f`,
    ],
    look: [`reg query "HKLM\\${internetSettings}"`],
    notes: [
      "the first line is the policy Make proxy settings per-machine (rather than per-user), under Computer Configuration, Administrative Templates, Windows Components, Internet Explorer; in a domain set it there",
      "Microsoft documents the policy and the Network Proxy CSP, not the values under HKLM, which are third-party text: with the policy on, the Proxy page of Windows' Settings sets them as well. With an MDM use the CSP instead: ./Vendor/MSFT/NetworkProxy, ProxySettingsPerUser 0, with ProxyServer or SetupScriptUrl",
    ],
    sources: [
      deliveryProxy,
      "Microsoft, NetworkProxy CSP: https://learn.microsoft.com/windows/client-management/mdm/networkproxy-csp",
    ],
  };
}

function signedInUser(pac: string): SetupStep {
  const key = `HKCU\\${internetSettings}`;
  return {
    title: "the signed-in user, where settings stay per user",
    reads: "browsers of this user; Delivery Optimization while this user is signed in [DO proxy]",
    commands: [`reg add "${key}" /v AutoConfigURL /t REG_SZ /d ${pac} /f`],
    undo: [`reg delete "${key}" /v AutoConfigURL /f`],
    look: [`reg query "${key}" /v AutoConfigURL`],
    notes: [
      "not together with the device-wide setting; type it as that user, in a Command Prompt that is not elevated",
    ],
    sources: [deliveryProxy],
  };
}

function bits(way: ProxyWay): SetupStep {
  const set = way.pac === undefined ? `MANUAL_PROXY ${hostPort(way)} ""` : `AUTOSCRIPT ${way.pac}`;
  const accounts = ["LOCALSYSTEM", "NETWORKSERVICE", "LOCALSERVICE"];
  return {
    title: "the accounts of services, for BITS and WinINET",
    reads: "BITS jobs of services (Defender definitions among others), and what services fetch through WinINET",
    commands: accounts.map((account) => `bitsadmin /util /setieproxy ${account} ${set}`),
    undo: accounts.map((account) => `bitsadmin /util /setieproxy ${account} NO_PROXY`),
    look: ["bitsadmin /util /getieproxy LOCALSYSTEM"],
    notes: ["bitsadmin says that it is deprecated, and works; not needed beside the device-wide setting"],
    sources: [
      virtualDesktop,
      "Microsoft, bitsadmin util and setieproxy: https://learn.microsoft.com/windows-server/administration/windows-commands/bitsadmin-util-and-setieproxy",
    ],
  };
}

function services(way: ProxyWay): SetupStep {
  return {
    title: "environment variables of the machine",
    reads: "agents and tools that are written with Go, Python, Node.js or curl; git and npm in a service",
    commands: [
      `setx http_proxy ${proxyUrl(way)} /M`,
      `setx https_proxy ${proxyUrl(way)} /M`,
      "setx no_proxy localhost,127.0.0.1,::1 /M",
    ],
    undo: ["http_proxy", "https_proxy", "no_proxy"].map(
      (name) =>
        String.raw`reg delete "HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment" /v ${name} /f`,
    ),
    look: ["set | findstr /i proxy"],
    notes: ["services see it after the machine has been started anew"],
    sources: ["Microsoft, setx: https://learn.microsoft.com/windows-server/administration/windows-commands/setx"],
  };
}
