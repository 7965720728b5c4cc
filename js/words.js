/**
 * Our texts in the editor's language: `word("clip.held", { frames: 8 })`.
 *
 * Texts are written in english.js, one key each, whole sentences, with `{name}` where a value comes in; the other
 * languages are in `locales/<language>/main.json` under `motionEmbeddings`. Call `word` when something is shown, not
 * when a module is loaded: the language may change, and the host then makes its nodes anew.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { ENGLISH } from "./english.js";

/**
 * @typedef {keyof typeof ENGLISH} Key
 * @typedef {{display_name: string, description: string,
 *   inputs?: Record<string, {name: string, tooltip: string}>,
 *   outputs?: Record<string, {name: string, tooltip: string}>}} NodeTexts
 * @typedef {{motionEmbeddings?: Partial<Record<Key, string>>, nodeCategories?: Record<string, string>,
 *   nodeDefs?: Record<string, NodeTexts>}} Texts
 */

/** @type {Record<string, Texts>} of all packs, by language */
let languages = {};

/** Fetches all languages; until then, and where that fails, everything is English. */
export async function loadWords() {
  try {
    languages = await api.getCustomNodesI18n();
  } catch {
    languages = {};
  }
}

/** What is known in the editor's language; nothing where there is no translation into it. */
export function texts() {
  return languages[app.extensionManager.setting.get("Comfy.Locale")] ?? {};
}

/**
 * What went wrong, as it says itself.
 * @param {unknown} error
 */
export function causeOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A text in the editor's language, or in English where it is not translated.
 * @param {Key} key
 * @param {Record<string, string | number>} [values] by the names in braces
 */
export function word(key, values = {}) {
  const text = texts().motionEmbeddings?.[key] ?? ENGLISH[key];
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
