/** A loss curve on a canvas: every point pale, the running mean in colour, numbers along both axes. */

const LINE = "#f5c542";
const ROOM = { left: 42, right: 10, top: 8, bottom: 18 };
const FONT = "10px sans-serif";
const SHARPER = 2;
const OUTLIERS = 0.02;
const SMOOTHED = 0.2;
const FEWEST = 7;
const MANY = 100;

/**
 * @typedef {{losses: number[], each: number, steps: number}} Curve the losses of all steps so far, each the mean of so
 *   many; and how many steps there will be
 */

/**
 * Fills `canvas`, which shows at its size in the page.
 * @param {HTMLCanvasElement} canvas
 * @param {Curve} curve
 */
export function drawLosses(canvas, { losses, each, steps }) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const context = canvas.getContext("2d");
  if (!width || !height || !context || !losses.length) return;
  // Sharp on fine screens, and when the graph is zoomed in.
  const scale = SHARPER * Math.max(1, window.devicePixelRatio);
  Object.assign(canvas, { width: width * scale, height: height * scale });
  context.scale(scale, scale);
  const ticks = ticksOver(...range(losses), Math.max(2, Math.floor(height / 36)));
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const [across, down] = [width - ROOM.left - ROOM.right, height - ROOM.top - ROOM.bottom];
  const x = (/** @type {number} */ index) => ROOM.left + (across * Math.min((index + 1) * each, steps)) / steps;
  const y = (/** @type {number} */ loss) => {
    const part = (Math.min(high, Math.max(low, loss)) - low) / (high - low);
    return ROOM.top + down * (1 - part);
  };
  const ink = getComputedStyle(canvas).color;
  Object.assign(context, { font: FONT, fillStyle: ink, strokeStyle: ink, textBaseline: "middle", textAlign: "right" });
  for (const tick of ticks) {
    context.globalAlpha = 0.15;
    context.fillRect(ROOM.left, Math.round(y(tick)), across, 1);
    context.globalAlpha = 0.8;
    context.fillText(label(tick, ticks[1] - ticks[0]), ROOM.left - 6, y(tick));
  }
  context.textBaseline = "alphabetic";
  context.fillText(String(steps), width - ROOM.right, height - 5);
  context.textAlign = "left";
  context.fillText("0", ROOM.left, height - 5);
  context.fillStyle = context.strokeStyle = LINE;
  context.globalAlpha = 0.5;
  losses.forEach((loss, index) => dot(context, x(index), y(loss), losses.length > MANY ? 1.3 : 2));
  context.globalAlpha = 1;
  const means = smooth(losses, Math.max(FEWEST, Math.floor(losses.length * SMOOTHED)));
  Object.assign(context, { lineWidth: 2, lineJoin: "round", lineCap: "round" });
  context.beginPath();
  means.forEach((loss, index) => context.lineTo(x(index), y(loss)));
  context.stroke();
  dot(context, x(means.length - 1), y(means[means.length - 1]), 3);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

/**
 * Least and greatest, but for a few that would press all others together.
 * @param {number[]} losses
 * @returns {[number, number]}
 */
function range(losses) {
  const sorted = [...losses].sort((one, other) => one - other);
  const left_out = Math.floor(sorted.length * OUTLIERS);
  return [sorted[0], sorted[sorted.length - 1 - left_out]];
}

/**
 * Round numbers, evenly apart, around `low` and `high`: at most about `most`.
 * @param {number} low
 * @param {number} high
 * @param {number} most
 */
export function ticksOver(low, high, most) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(1, most - 1);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 2.5, 5].find((factor) => factor * unit >= rough * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/**
 * @param {number} value
 * @param {number} step between two labels
 */
function label(value, step) {
  const digits = Math.max(0, 1 - Math.floor(Math.log10(step)));
  if (digits > 5 || Math.abs(value) >= 1e5) return value.toExponential(1);
  return String(Number(value.toFixed(digits)));
}

/**
 * Centred running mean, over fewer at both ends.
 * @param {number[]} values
 * @param {number} window
 */
export function smooth(values, window) {
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  const half = Math.floor(window / 2);
  return values.map((_, index) => {
    const [from, to] = [Math.max(0, index - half), Math.min(values.length, index + half + 1)];
    return (sums[to] - sums[from]) / (to - from);
  });
}
