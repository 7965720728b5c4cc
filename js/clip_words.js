/** What is written under the film strip. */

import { word } from "./words.js";

/**
 * @typedef {import("./api.js").Clip} Clip
 * @typedef {import("./api.js").Plan} Plan
 */

/**
 * What the node will decode.
 * @param {Plan} plan
 */
export function planned(plan) {
  const [start, end] = [plan.start.toFixed(2), plan.end.toFixed(2)];
  return word("clip.planned", { ...plan, fps: rate(plan.fps), start, end, memory: size(plan.memory), warning: "" });
}

/**
 * What the file holds.
 * @param {Clip} clip
 */
export function held(clip) {
  const { frames, width, height } = clip;
  return word("clip.held", { frames, width, height, duration: clip.duration.toFixed(2), fps: rate(clip.fps) });
}

/**
 * Why nothing is known before the graph runs.
 * @param {string[]} names of the inputs that other nodes feed
 */
export function wired(names) {
  const [input] = names;
  return names.length > 1 ? word("clip.wired_several", { inputs: names.join(", ") }) : word("clip.wired", { input });
}

/** @param {number} fps */
function rate(fps) {
  return String(Math.round(fps * 100) / 100);
}

/** @param {number} megabytes */
function size(megabytes) {
  return megabytes < 10 ? megabytes.toFixed(1) : String(Math.round(megabytes));
}
