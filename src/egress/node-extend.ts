/**
 * http-proxy takes `util._extend` when it is loaded. Node 22 and later print a deprecation warning at its first call,
 * on the administrator's terminal; the documented replacement is `Object.assign`. Import this before http-proxy.
 */
import util from "node:util";

Object.assign(util, { _extend: Object.assign });
