/** Refreshes the generated part of docs/packs.md: `npm run docs:packs`. */
import { writeFileSync } from "node:fs";
import { documentPath, generate, pageText, readPage } from "./packs-document.ts";

writeFileSync(documentPath, pageText({ ...readPage(), generated: generate() }));
