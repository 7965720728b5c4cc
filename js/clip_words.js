/** What is written under the film strip. */

/**
 * @typedef {import("./api.js").Clip} Clip
 * @typedef {import("./api.js").Plan} Plan
 */

/**
 * What the node will decode.
 * @param {Plan} plan
 */
export function planned(plan) {
  const { frames, fps, start, end, width, height, memory } = plan;
  const seconds = `${start.toFixed(2)} to ${end.toFixed(2)} s`;
  return [`${frames} frames`, `${rate(fps)} fps`, seconds, `${width}\u00d7${height}`, `${size(memory)} MB`].join(" \u00b7 ");
}

/**
 * What the file holds.
 * @param {Clip} clip
 */
export function held(clip) {
  const { frames, fps, duration, width, height } = clip;
  return `File: ${duration.toFixed(2)} s \u00b7 ${frames} frames \u00b7 ${rate(fps)} fps \u00b7 ${width}\u00d7${height}`;
}

/**
 * Why nothing is known before the graph runs.
 * @param {string[]} names of the inputs that other nodes feed
 */
export function wired(names) {
  return `${names.join(", ")} ${names.length > 1 ? "come" : "comes"} from another node: known when the graph runs.`;
}

/** @param {number} fps */
function rate(fps) {
  return String(Math.round(fps * 100) / 100);
}

/** @param {number} megabytes */
function size(megabytes) {
  return megabytes < 10 ? megabytes.toFixed(1) : String(Math.round(megabytes));
}
