/** How Linux is told of the proxy: there is no one setting, so shells, services and package managers each have theirs. */
import { type ProxyWay, type Setup, type SetupStep, hostPort, proxyUrl } from "./setup-step.ts";

const noProxy = "localhost,127.0.0.1,::1";
const dropIn = "/etc/systemd/system.conf.d/50-sallyport-proxy.conf";

export function linuxSetup(way: ProxyWay): Setup {
  return {
    shell: "a shell of root",
    steps: [sessions(way), services(way), apt(way), dnf(way), git(way), npm(way), ...desktop(way)],
    agents: [
      `Trend Micro Workload Security has settings of its own, before it is activated: /opt/ds_agent/dsa_control -x dsm_proxy://${hostPort(way)}/ and -y relay_proxy://${hostPort(way)}/ [Trend scripts, third-party]`,
      "Automox: that its agent follows https_proxy of its service is not verified; the patches themselves come through apt or dnf, above",
      `Datto RMM has a proxy for each site in its portal: type http, host ${way.host}, port ${way.port} [Datto API, third-party]`,
    ],
  };
}

function sessions(way: ProxyWay): SetupStep {
  const lines = variables(way).map((line) => `'${line}'`);
  return {
    title: "sessions: /etc/environment",
    reads:
      "what people start after they have logged in: curl, wget, git, pip. curl reads http_proxy in lower case only",
    commands: [`printf '%s\\n' ${lines.join(" ")} >> /etc/environment`],
    undo: ["sed -i -E '/^(http|https|no)_proxy=/Id' /etc/environment"],
    look: ["grep -i _proxy= /etc/environment"],
    notes: ["services do not read it: they have the next one"],
    sources: ["pam_env(8)", "curl's manual, environment: https://curl.se/docs/manpage.html#ENVIRONMENT"],
  };
}

function services(way: ProxyWay): SetupStep {
  const assignments = variables(way)
    .map((line) => `"${line}"`)
    .join(" ");
  return {
    title: "services: defaults of systemd",
    reads: "every agent that is a service and looks at https_proxy in its environment",
    commands: [
      "mkdir -p /etc/systemd/system.conf.d",
      `printf '%s\\n' '[Manager]' 'DefaultEnvironment=${assignments}' > ${dropIn}`,
      "systemctl daemon-reexec",
    ],
    undo: [`rm ${dropIn}`, "systemctl daemon-reexec"],
    look: ["systemctl show --property=DefaultEnvironment", "systemctl show --property=Environment SERVICE"],
    notes: [
      "restart the agent's service after it",
      `for one service alone: systemctl edit SERVICE, with [Service] and Environment=${assignments}; systemctl revert SERVICE takes it back`,
    ],
    sources: ["systemd-system.conf(5), DefaultEnvironment=; systemd.exec(5), Environment="],
  };
}

function apt(way: ProxyWay): SetupStep {
  const file = "/etc/apt/apt.conf.d/95sallyport-proxy";
  return {
    title: "apt",
    reads: "apt and apt-get, unattended-upgrades, and agents that have them install patches",
    commands: [
      `printf '%s\\n' 'Acquire::http::Proxy "${proxyUrl(way)}";' 'Acquire::https::Proxy "${proxyUrl(way)}";' > ${file}`,
    ],
    undo: [`rm ${file}`],
    look: ["apt-config dump Acquire::http::Proxy", "apt-config dump Acquire::https::Proxy"],
    notes: ["a mirror is no vendor's host: it needs a rule of your own"],
    sources: ["apt-transport-http(1), apt-transport-https(1)"],
  };
}

function dnf(way: ProxyWay): SetupStep {
  return {
    title: "dnf and yum",
    reads: "dnf, yum, and agents that have them install patches",
    commands: [`sed -i '/^\\[main\\]/a proxy=${proxyUrl(way)}' /etc/dnf/dnf.conf`],
    undo: ["sed -i '/^proxy=/d' /etc/dnf/dnf.conf"],
    look: ["grep ^proxy= /etc/dnf/dnf.conf"],
    notes: ["/etc/yum.conf where there is yum only; subscription-manager has proxy_hostname and proxy_port of its own"],
    sources: ["dnf.conf(5), proxy"],
  };
}

function git(way: ProxyWay): SetupStep {
  return {
    title: "git",
    reads: "git over http and https, also where it has no environment",
    commands: [`git config --system http.proxy ${proxyUrl(way)}`],
    undo: ["git config --system --unset http.proxy"],
    look: ["git config --get http.proxy"],
    notes: ["git over ssh does not use a proxy"],
    sources: ["git-config(1), http.proxy"],
  };
}

function npm(way: ProxyWay): SetupStep {
  return {
    title: "npm",
    reads: "npm, also where it has no environment",
    commands: ["proxy", "https-proxy"].map((key) => `npm config set --location=global ${key} ${proxyUrl(way)}`),
    undo: ["proxy", "https-proxy"].map((key) => `npm config delete --location=global ${key}`),
    look: ["npm config get https-proxy"],
    notes: [],
    sources: ["npm's documentation, config: proxy, https-proxy"],
  };
}

function desktop({ pac }: ProxyWay): readonly SetupStep[] {
  if (pac === undefined) return [];
  return [
    {
      title: "the desktop of one user, by PAC (GNOME)",
      reads: "browsers and GNOME programs of that user; no agent",
      commands: [
        "gsettings set org.gnome.system.proxy mode auto",
        `gsettings set org.gnome.system.proxy autoconfig-url ${pac}`,
      ],
      undo: ["gsettings reset-recursively org.gnome.system.proxy"],
      look: ["gsettings list-recursively org.gnome.system.proxy"],
      notes: ["as that user, not as root"],
      sources: ["GNOME's schema org.gnome.system.proxy (gsettings-desktop-schemas)"],
    },
  ];
}

/** Upper case is what some programs read alone; in both, none reads an old one. */
function variables(way: ProxyWay): readonly string[] {
  const values = { http_proxy: proxyUrl(way), https_proxy: proxyUrl(way), no_proxy: noProxy };
  return Object.entries(values).flatMap(([name, value]) => [`${name}=${value}`, `${name.toUpperCase()}=${value}`]);
}
