/**
 * Windows checking a certificate (CryptoAPI): the list of distrusted certificates, a revocation list and an OCSP answer,
 * all over plain HTTP on port 80, User-Agent `Microsoft-CryptoAPI/10.0`, `Cache-Control` and `Pragma: no-cache`. An OCSP
 * request is base64 in the path, whose `%2F`, `%2B` and `%3D` must arrive as they are. Where these are closed, agents fail
 * with CRYPT_E_REVOCATION_OFFLINE (0x80092013) and Windows Update with 0x80072F8F.
 */
import { type Question, type Step, type Surroundings, stepOf } from "./proxied.ts";

const question: Question = {
  method: "GET",
  fields: [
    ["Cache-Control", "no-cache"],
    ["Connection", "Keep-Alive"],
    ["Pragma", "no-cache"],
    ["Accept", "*/*"],
    ["User-Agent", "Microsoft-CryptoAPI/10.0"],
  ],
};

/** The path of an OCSP request, as it must be kept. */
export const ocspPath =
  "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBSAUQYBMq2awn1Rh6Doh%2FsBYgFV7gQUA95QNVbRTLtm8KPiGxvDl7I90VUCEAJ0LqoXyo4hxxe7H%2Fz9DKA%3D";

export async function runCryptoApi(around: Surroundings): Promise<readonly Step[]> {
  return [
    await stepOf(
      around,
      "http://ctldl.windowsupdate.com/msdownload/update/v3/static/trustedr/en/disallowedcertstl.cab?556e691713fe650f",
      question,
    ),
    await stepOf(around, "http://crl3.digicert.com/DigiCertGlobalG2TLSRSASHA2562020CA1-1.crl", question),
    await checkByOcsp(around, "ocsp.digicert.com"),
  ];
}

/** What any agent on Windows asks for before it trusts a certificate of this issuer. */
export async function checkByOcsp(around: Surroundings, responder: string): Promise<Step> {
  return stepOf(around, `http://${responder}${ocspPath}`, question);
}
