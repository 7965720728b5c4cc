/** What the editor asks the server for about motions. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { query, refusal } from "./api.js";
import { nodes } from "./graph.js";

/**
 * A file in models/motion_embeddings. What follows `pictures` is there unless there is `trouble`.
 * @typedef {{name: string, size: number, changed: number, trouble: string | null, pictures: number, family?: string,
 *   frames?: number, video_frames?: number, width?: number, height?: number, fps?: number, prompt?: string}} MotionFile
 */

export const LOADER = "ME_LoadMotionEmbedding";
export const ENDING = ".safetensors";
const LARGEST_HEADER = 16 * 2 ** 20;

/** @returns {Promise<{folder: string, files: MotionFile[]}>} the latest first */
export async function listMotions() {
  return answer(await api.fetchApi("/motion_embeddings/motions", { cache: "no-store" }));
}

/**
 * @param {string} name
 * @param {boolean} isListed whether there was such a file when the page was loaded
 * @returns {Promise<MotionFile | null>} nothing where there is no such file
 */
export async function findMotion(name, isListed) {
  // A template names the file that it will write: to ask for it before that would be an error in the console.
  if (!isListed) return (await listMotions()).files.find((file) => file.name === name) ?? null;
  const response = await api.fetchApi(`/motion_embeddings/motion?${query({ file: name })}`, { cache: "no-store" });
  return response.status === 404 ? null : answer(response);
}

/**
 * Address of the pictures side by side; another one once the file has changed.
 * @param {MotionFile} file
 */
export function pictureAddress(file) {
  const wanted = query({ file: file.name, changed: file.changed });
  return api.apiURL(`/motion_embeddings/motion_thumbnail?${wanted}`);
}

/**
 * Puts a file into models/motion_embeddings.
 * @param {File} file
 * @returns {Promise<string>} its name there
 */
export async function uploadMotion(file) {
  const response = await api.fetchApi(`/motion_embeddings/motions?${query({ name: file.name })}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: file,
  });
  const { name, error } = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(error?.message ?? refusal(response));
  return name;
}

/**
 * Whether the header of a file says that it is a motion of ours.
 * @param {File} file
 */
export async function isMotion(file) {
  if (!file.name.endsWith(ENDING)) return false;
  try {
    const start = new DataView(await file.slice(0, 8).arrayBuffer());
    const length = Number(start.getBigUint64(0, true));
    if (length > LARGEST_HEADER) return false;
    const header = JSON.parse(await file.slice(8, 8 + length).text());
    return "motion_embedding" in (header.__metadata__ ?? {});
  } catch {
    return false;
  }
}

/**
 * The families of the models that the motion of a loader is put on; nothing unless all of them are known.
 * @param {HostNode} node
 * @returns {Promise<string[]>}
 */
export async function connectedFamilies(node) {
  try {
    const { output } = await app.graphToPrompt();
    const places = [...nodes()].filter(([, one]) => one === node).map(([id]) => id);
    const response = await api.fetchApi("/motion_embeddings/model_families", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: output, nodes: places }),
    });
    const { families } = await answer(response);
    return families.includes(null) ? [] : [...new Set(families)];
  } catch {
    return []; // a graph that cannot be read yet is no reason to show no files
  }
}

/** @param {Response} response */
async function answer(response) {
  if (!response.ok) throw new Error(refusal(response));
  return response.json();
}
