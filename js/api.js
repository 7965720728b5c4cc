/** What the editor asks the server for. */

import { api } from "../../scripts/api.js";
import { causeOf, word } from "./words.js";

const TOO_LARGE = 413;

/**
 * @typedef {{duration: number, fps: number, frames: number, width: number, height: number, rotation: number,
 *   changed: number, example: boolean}} Clip changed: when its file was, in milliseconds since 1970; example: it comes
 *   with the pack
 * @typedef {{frames: number, fps: number, width: number, height: number, start: number, end: number,
 *   memory: number, warning: string | null}} Plan
 * @typedef {{clip: Clip | null, plan: Plan | null, error: {input: string, message: string} | null}} Description
 */

/**
 * What a clip holds and what the node would decode from it.
 * @param {Record<string, string | number>} values the node's widgets
 * @returns {Promise<Description>}
 */
export async function describeClip(values) {
  const response = await api.fetchApi(`/motion_embeddings/video?${query(values)}`);
  if (!response.ok) throw new Error(refusal(response));
  return response.json();
}

/**
 * Address of a JPEG with `count` pictures of the clip side by side.
 * @param {string} file
 * @param {number} count
 * @param {number} height
 * @param {number} changed when the file was: another address for another content
 */
export function filmStripAddress(file, count, height, changed) {
  return api.apiURL(`/motion_embeddings/film_strip?${query({ file, count, height, changed })}`);
}

/**
 * Address of the file itself.
 * @param {string} file as the widget has it: `folder/name.mp4 [output]`
 * @param {Clip} clip
 */
export function fileAddress(file, { changed, example }) {
  if (example) return api.apiURL(`/motion_embeddings/example?${query({ file })}`);
  const [, path = file, type = "input"] = file.match(/^(.*?)(?: \[(input|output|temp)\])?$/) ?? [];
  const at = path.lastIndexOf("/");
  const place = { filename: path.slice(at + 1), subfolder: path.slice(0, Math.max(0, at)), type, changed };
  return api.apiURL(`/view?${query(place)}`);
}

/**
 * Puts a file into ComfyUI's input folder and tells its name there.
 * @param {File} file
 */
export async function uploadFile(file) {
  const body = new FormData();
  body.append("image", file);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(refusal(response));
  const { name, subfolder } = await response.json();
  return subfolder ? `${subfolder}/${name}` : /** @type {string} */ (name);
}

/**
 * @param {File} file
 * @param {unknown} error why it is not on the server
 */
export function notUploaded(file, error) {
  return word("upload.failed", { file: file.name, cause: causeOf(error) });
}

/**
 * What an answer that is none says.
 * @param {Response} response
 */
export function refusal({ status, statusText }) {
  return status === TOO_LARGE ? word("upload.too_large") : `${status} ${statusText}`;
}

/** @param {Record<string, string | number>} values */
export function query(values) {
  return new URLSearchParams(Object.entries(values).map(([name, value]) => [name, String(value)])).toString();
}
