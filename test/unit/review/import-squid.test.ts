/** What of a squid.conf cannot become a policy is named, with its line and with what that means. */
import { describe, expect, test } from "vitest";
import type { Imported } from "../../../src/review/import-report.ts";
import { importSquid } from "../../../src/review/import-squid.ts";
import { importedPolicyText } from "../../../src/review/import-text.ts";
import { readSquidConfig } from "../../../src/review/squid-config.ts";

function imported(text: string, files: Readonly<Record<string, string>> = {}): Imported {
  const read = (path: string): string | undefined => files[path];
  const expand = (pattern: string): readonly string[] =>
    Object.keys(files).filter((path) => new RegExp(`^${pattern.replaceAll("*", "[^/]*")}$`).test(path));
  return importSquid(readSquidConfig("squid.conf", text, { read, expand }));
}

function lost(text: string, files?: Readonly<Record<string, string>>): readonly string[] {
  return imported(text, files)
    .findings.filter(({ effect }) => effect !== "note")
    .map(({ at, effect, message }) => `${at?.file}:${at?.line} ${effect}: ${message}`);
}

function rules(text: string, files?: Readonly<Record<string, string>>): readonly string[] {
  return imported(text, files).rules.map(({ deny, hosts, addresses, expect: endpoints, clients, methods }) =>
    [
      deny ? "deny" : "allow",
      [...hosts, ...addresses].join(","),
      endpoints.join(","),
      ...(clients === undefined ? [] : [`for ${clients.join(",")}`]),
      ...(methods === undefined ? [] : [`by ${methods.join(",")}`]),
    ]
      .filter((word) => word !== "")
      .join(" "),
  );
}

const ports = "acl s port 443\nacl p port 80\nhttp_access deny CONNECT !s\nhttp_access deny !CONNECT !p\n";

describe("rules", () => {
  test("come from names, from files with their comments, and from included files", () => {
    const files = {
      "/etc/squid/names": "# patches\n.a.example  # all of it\n\nB.example.\n",
      "/etc/squid/conf.d/10.conf": "http_access allow names\n",
    };
    const text = `${ports}acl names dstdomain -n "/etc/squid/names"\ninclude /etc/squid/conf.d/*.conf\nhttp_access deny all\n`;
    expect(rules(text, files)).toEqual(["allow *.a.example,b.example https,http"]);
    expect(lost(text, files)).toEqual([]);
  });

  test("of a line that goes on in the next", () => {
    expect(
      rules(`${ports}acl n dstdomain -n \\\n  a.example \\\n  b.example\nhttp_access allow n\nhttp_access deny all`),
    ).toEqual(["allow a.example,b.example https,http"]);
  });

  test("take the order of the lines in: a name opened before its domain is closed stays open, and the other way round", () => {
    const acls = `${ports}acl good dstdomain -n good.a.example\nacl bad dstdomain -n .a.example\nacl all_of dstdomain -n .example\n`;
    expect(
      rules(`${acls}http_access allow good\nhttp_access deny bad\nhttp_access allow all_of\nhttp_access deny all`),
    ).toEqual(["allow *.example https,http", "deny *.a.example", "allow good.a.example https,http"]);
    expect(
      rules(`${acls}http_access deny bad\nhttp_access allow good\nhttp_access allow all_of\nhttp_access deny all`),
    ).toEqual(["allow *.example https,http", "deny *.a.example"]);
  });

  test("have the groups that Squid's ACLs name, or the addresses that are left", () => {
    const text = `${ports}acl n dstdomain -n a.example\nacl lan src 10.0.0.0/8\nacl guests src 10.128.0.0/9\n`;
    expect(rules(`${text}http_access allow lan n\nhttp_access deny all`)).toEqual([
      "allow a.example https,http for lan",
    ]);
    const without = imported(`${text}http_access deny guests\nhttp_access allow lan n\nhttp_access deny all`);
    expect(without.groups).toEqual([{ name: "clients-1", addresses: ["10.0.0.0/9"] }]);
  });

  test("for addresses are for clients that name the address", () => {
    expect(rules(`${ports}acl n dstdomain -n 192.0.2.7\nhttp_access allow n\nhttp_access deny all`)).toEqual([
      "allow 192.0.2.7 https,http",
    ]);
  });
});

describe("what cannot be carried over", () => {
  const names = `${ports}acl n dstdomain -n a.example\n`;
  test.each<[string, string, RegExp]>([
    [
      "an allow of URLs",
      `acl u url_regex \\.cab$\nhttp_access allow u\nhttp_access deny all`,
      /^squid\.conf:7 narrower: .*\(u\)/,
    ],
    [
      "a deny of URLs among what is allowed",
      `acl u url_regex \\.exe$\nhttp_access deny u\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:7 wider: .*\(u\)/,
    ],
    [
      "a deny of names by expression",
      `acl u dstdom_regex ^evil\nhttp_access deny u\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:7 wider/,
    ],
    ["hours", `acl t time MTWHF\nhttp_access allow n t\nhttp_access deny all`, /^squid\.conf:7 narrower: .*\(n, t\)/],
    [
      "users",
      `acl u proxy_auth REQUIRED\nhttp_access deny !u\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:7 wider/,
    ],
    [
      "an ACL that nobody defines",
      `http_access allow nobody n\nhttp_access deny all`,
      /^squid\.conf:6 narrower: .*nobody/,
    ],
    [
      "every host",
      `acl lan src 10.0.0.0/8\nhttp_access allow lan\nhttp_access deny all`,
      /^squid\.conf:7 narrower: allows hosts that no dstdomain names/,
    ],
    [
      "no deny at the end of denies",
      `http_access deny n`,
      /^squid\.conf:6 narrower: Squid allows what no line matches/,
    ],
    [
      "a file that is not there",
      `acl f dstdomain -n "/no/file"\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:6 unclear: \/no\/file cannot be read/,
    ],
    [
      "a star, which Squid takes literally",
      `acl f dstdomain -n *.b.example\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:6 unclear: "\*\.b\.example"/,
    ],
    [
      "a public suffix",
      `acl f dstdomain -n .com\nhttp_access allow f\nhttp_access deny all`,
      /^squid\.conf:6 narrower: \*\.com covers/,
    ],
    [
      "a parent proxy",
      `cache_peer p.example parent 3128 0\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:6 unclear: parent/,
    ],
    ["conditions", `if 1 = 1\nhttp_access allow n\nendif\nhttp_access deny all`, /^squid\.conf:6 unclear: conditions/],
    [
      "clients by name",
      `acl c src pc.corp.example\nhttp_access allow n\nhttp_access deny all`,
      /^squid\.conf:6 unclear: "pc\.corp\.example"/,
    ],
  ])("%s", (_title, text, expected) => {
    expect(lost(names + text)).toEqual(expect.arrayContaining([expect.stringMatching(expected)]));
  });

  test("is nothing in a configuration that says only what a policy can", () => {
    expect(
      lost(
        `${names}http_access deny manager\nhttp_access deny to_localhost\nhttp_access allow n\nhttp_access deny all`,
      ),
    ).toEqual([]);
  });

  test("is written into the policy so that no text of the source gets out of its comment", () => {
    const text = importedPolicyText(
      imported(`${names}http_access allow x\u0007y\u2028n\nhttp_access deny all`),
      "squid\n.conf",
      "site",
    );
    const comments = text.split("\n").filter((line) => line.startsWith("#"));
    expect(text.slice(0, text.indexOf("version: 1")).trimEnd().split("\n")).toEqual(comments);
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
  });
});
