/** Words of the formats that are fuzzed: what a mutation puts among the bytes. */

/** For hosts, ports and request targets. */
export const authorityWords: readonly string[] =
  parted(`. ¦ .. ¦ : ¦ :: ¦ @ ¦ \\ ¦ / ¦ // ¦ # ¦ ? ¦ % ¦ %2e ¦ %00 ¦ [ ¦ ] ¦ 0x ¦ 0x7f.1 ¦ 127.1 ¦ 0177.0.0.1 ¦
2130706433 ¦ ::1 ¦ %25lo ¦ xn-- ¦ \u3002 ¦ \uff0e ¦ \u212a ¦ \u00df ¦ \0 ¦ \t ¦ \n ¦ :080 ¦ :+80 ¦
:0 ¦ :65536 ¦ :4294967376 ¦ :80:80 ¦ 0 ¦ 00 ¦ 08 ¦ 1e3 ¦ http: ¦ http:// ¦ * ¦  `);

/** For YAML, policies and settings. */
export const policyWords: readonly string[] =
  parted(`* ¦ *.x.com ¦ &a  ¦ *a ¦ !!str  ¦ !!js/function  ¦ <<:  ¦ ?  ¦ -  ¦ :  ¦ : |\n ¦ : >-\n ¦ { ¦ } ¦ [ ¦
] ¦ , ¦ # ¦ \n ¦ \r\n ¦ \r ¦ \t ¦    ¦ ---\n ¦ ...\n ¦ %YAML 1.1\n ¦ \ufeff ¦ \u2028 ¦ \0 ¦ " ¦ ' ¦
~ ¦ null ¦ 0x10 ¦ .inf ¦ 1_000 ¦ on ¦ 2027-02-30 ¦ -1 ¦ 99999999999999999999 ¦ __proto__:  ¦ glob: ¦
glob:{a,b}{c,d}.example.com ¦ **.x.com ¦ {us,eu} ¦ \${region} ¦ <region> ¦ https:0 ¦ tcp:443 ¦
http:65536 ¦ 10.0.0.0/33 ¦ ::/0 ¦ constructor: 1\n ¦ use:\n  -  ¦ rules:\n  -  ¦ params:\n   ¦
[[[[[[[[ ¦ use: [windows-update]\n ¦ without: [x] ¦ with: { region: all } ¦ name: site\n ¦
version: 1\n ¦ mode: report`);

/** For HTTP/1.1. */
export const requestWords: readonly string[] =
  parted(`\r\n ¦ \n ¦ \r ¦ \r\n\r\n ¦   ¦ \t ¦ \0 ¦ : ¦ , ¦ ; ¦ \r\n  ¦ 0\r\n\r\n ¦ 5\r\nabcde\r\n ¦ \x0b ¦
\x85 ¦ Host: plain.example.com\r\n ¦ Host: denied.example.com\r\n ¦ Content-Length: 5\r\n ¦
Content-Length: 0\r\n ¦ Transfer-Encoding: chunked\r\n ¦ Transfer-Encoding: identity\r\n ¦
Connection: close\r\n ¦ Upgrade: h2c\r\n ¦ Connection: Upgrade\r\n ¦
Connection: Host, Content-Length, Transfer-Encoding\r\n ¦ Trailer: Host\r\n ¦
Expect: 100-continue\r\n ¦ Range: bytes=0-1\r\n ¦ Keep-Alive: 5\r\n ¦ __proto__: x\r\n ¦
X: \xe9\xff\r\n ¦ HTTP/1.0 ¦ HTTP/1.1 ¦ GET  ¦ CONNECT plain.example.com:80  ¦ https:// ¦ @ ¦ # ¦
chunked ¦ +5 ¦ 0x5 ¦ ffffffffffffffff ¦ 00000000000000005 ¦ 5;a="\r\n" ¦ Content_Length: 5\r\n ¦
Content-Length : 5\r\n`);

/** Words stand between bars, with a blank on either side, since blanks and line ends belong to some of them. */
function parted(text: string): readonly string[] {
  return text.split(/ ¦[ \n]/);
}
