/** What is written about a motion. */

import { app } from "../../scripts/app.js";
import { word } from "./words.js";

/** @typedef {import("./motion_files.js").MotionFile} MotionFile */

/** Names of models, the same in every language. @type {Record<string, string>} */
const FAMILIES = {
  unet3d: "ModelScope, ZeroScope",
  animatediff: "AnimateDiff",
  svd: "Stable Video Diffusion",
  latte: "Latte",
  wan: "Wan",
  ltxv: "LTX-Video",
  hunyuan_video: "HunyuanVideo",
  hunyuan_video_15: "HunyuanVideo 1.5",
  mochi: "Mochi",
  cosmos_predict2: "Cosmos Predict2",
};

/** @param {string | undefined} family */
export function familyTitle(family) {
  return FAMILIES[family ?? ""] ?? family ?? "";
}

/** @param {MotionFile} file */
export function title(file) {
  return file.name.replace(/\.safetensors$/, "");
}

/**
 * The kind of model it is for.
 * @param {MotionFile} file
 */
export function kind(file) {
  return file.trouble ? word("motion.broken") : familyTitle(file.family);
}

/**
 * How long and how large it is.
 * @param {MotionFile} file
 */
export function measures(file) {
  const [latent, frames] = [file.frames ?? 0, file.video_frames ?? 0];
  const length = latent === frames ? word("motion.frames", { frames }) : word("motion.latent_frames", { frames, latent });
  const size =
    file.size < 1e5
      ? word("motion.kilobytes", { size: (Math.max(file.size, 50) / 1e3).toFixed(1) })
      : word("motion.megabytes", { size: (file.size / 1e6).toFixed(file.size < 1e7 ? 2 : 0) });
  return file.trouble ? size : `${length} · ${size}`;
}

/** @param {MotionFile} file */
export function date(file) {
  const locale = String(app.extensionManager.setting.get("Comfy.Locale") ?? "en");
  return new Date(file.changed).toLocaleDateString(locale, { dateStyle: "medium" });
}

/**
 * Whether all words of `wanted` are somewhere in what is known of the file.
 * @param {MotionFile} file
 * @param {string} wanted
 */
export function matches(file, wanted) {
  const known = `${file.name} ${file.family} ${familyTitle(file.family)} ${file.prompt ?? ""}`.toLowerCase();
  return wanted
    .toLowerCase()
    .split(/\s+/)
    .every((part) => known.includes(part));
}
