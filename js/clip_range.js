/** Which part of a clip the widgets choose, and how moving its ends changes them. Times are in seconds. */

/**
 * @typedef {{start: number, frames: number, fps: number, stride: number}} Choice
 * @typedef {{duration: number, fps: number}} Rate
 */

const FEWEST = 2;
const MOST = 4096;
const ROUNDING = 1e-6;

/**
 * Seconds from one chosen frame to the next.
 * @param {Choice} choice
 * @param {Rate} clip
 */
export function step(choice, clip) {
  return choice.stride / (choice.fps || clip.fps);
}

/**
 * Where the chosen part ends.
 * @param {Choice} choice
 * @param {Rate} clip
 */
export function end(choice, clip) {
  return Math.min(clip.duration, choice.start + choice.frames * step(choice, clip));
}

/**
 * The choice with another beginning and the same end.
 * @param {Choice} choice
 * @param {Rate} clip
 * @param {number} time
 */
export function withStart(choice, clip, time) {
  const [pace, until] = [step(choice, clip), end(choice, clip)];
  const frames = between(Math.round((until - time) / pace), FEWEST, Math.min(MOST, whole(until / pace)));
  return { start: onFrame(Math.max(0, until - frames * pace), clip), frames };
}

/**
 * The choice with another end and the same beginning.
 * @param {Choice} choice
 * @param {Rate} clip
 * @param {number} time
 */
export function withEnd(choice, clip, time) {
  const pace = step(choice, clip);
  const room = whole((clip.duration - choice.start) / pace);
  return { start: choice.start, frames: between(Math.round((time - choice.start) / pace), FEWEST, Math.min(MOST, room)) };
}

/**
 * The choice of as many frames, beginning elsewhere.
 * @param {Choice} choice
 * @param {Rate} clip
 * @param {number} time
 */
export function moved(choice, clip, time) {
  const latest = Math.max(0, clip.duration - choice.frames * step(choice, clip));
  return { start: onFrame(between(time, 0, latest), clip), frames: choice.frames };
}

/**
 * The nearest time at which the clip has a frame.
 * @param {number} time
 * @param {Rate} clip
 */
function onFrame(time, clip) {
  return Math.round((Math.round(time * clip.fps) / clip.fps) * 1000) / 1000;
}

/** @param {number} value */
function whole(value) {
  return Math.floor(value + ROUNDING);
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function between(value, least, most) {
  return Math.max(least, Math.min(most, value));
}
