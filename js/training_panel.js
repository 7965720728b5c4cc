/** The part of Train Motion Embedding that shows how it goes on: loss curve, clip and what the model makes of it. */

import { ClipPair } from "./clip_pair.js";
import { drawLosses } from "./loss_graph.js";
import { word } from "./words.js";

/**
 * @typedef {{step: number, file: string}} Kept
 * @typedef {{run?: string, step: number, steps: number, losses: number[], each: number, loss: number, seconds: number,
 *   left: number, strip?: import("./clip_pair.js").Strip, kept?: Kept, arrived: number, live: boolean}} Course
 *   times in seconds; arrived: when the page heard of it, in milliseconds; live: whether it goes on
 */

const CURVE_HEIGHT = 110;
const LINE_HEIGHT = 16;
const GAP = 4;
const USUAL_WIDTH = 300;
const TICK_MS = 1000;

export class TrainingPanel {
  element = element("div", "me-training");
  #curve = document.createElement("canvas");
  #clips = new ClipPair(() => this.#resize());
  #captions = element("div", "me-training-captions");
  #state = element("div", "me-training-row");
  #time = element("div", "me-training-row");
  #kept = element("div", "me-training-kept");
  #observer = new ResizeObserver(() => this.#draw());
  #timer = 0;
  /** @type {Course | null} */
  #course = null;
  #onHeight;

  /**
   * @param {(file: string) => void} onGoOn the person wants to go on from what was kept
   * @param {() => void} onHeight it needs another height
   */
  constructor(onGoOn, onHeight) {
    this.#onHeight = onHeight;
    this.#curve.className = "me-training-curve";
    const button = document.createElement("button");
    this.#state.append(element("span"), element("span"));
    this.#kept.append(element("span"), button);
    button.type = "button";
    button.addEventListener("click", () => this.#course?.kept && onGoOn(this.#course.kept.file));
    button.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.#kept.addEventListener("copy", (event) => event.stopPropagation()); // the host would copy nodes
    this.#captions.append(element("span"), element("span"));
    this.element.append(this.#curve, this.#clips.element, this.#captions, this.#state, this.#time, this.#kept);
    this.#observer.observe(this.element);
    this.#observer.observe(this.#clips.element);
  }

  /** Pixels it needs in a node so wide. */
  height() {
    const clips = this.#clips.height(this.#width());
    const captions = clips ? LINE_HEIGHT + 2 * GAP : 0;
    const kept = this.#kept.hidden ? 0 : this.#kept.scrollHeight + GAP;
    return CURVE_HEIGHT + clips + captions + kept + 2 * (LINE_HEIGHT + GAP);
  }

  /** @param {Course} course */
  show(course) {
    this.#course = course;
    this.#clips.show(course.strip);
    this.#captions.hidden = !course.strip;
    texts(this.#captions, word("training.clip"), word("training.made"));
    this.#kept.hidden = !course.kept;
    texts(this.#kept, course.kept ? word("training.kept", { file: course.kept.file }) : "", word("training.go_on"));
    this.#tell();
    clearInterval(this.#timer);
    if (course.live) this.#timer = setInterval(() => this.#tell(), TICK_MS);
    this.#draw();
  }

  dispose() {
    clearInterval(this.#timer);
    this.#observer.disconnect();
    this.#clips.dispose();
  }

  /** Writes how far it is; time goes on between two reports. */
  #tell() {
    if (!this.#course) return;
    const { step, steps, loss, seconds, left, arrived, live } = this.#course;
    const since = live ? (Date.now() - arrived) / 1000 : 0;
    const isDone = step === steps;
    const key = isDone ? "training.done" : live ? "training.step" : "training.stopped";
    texts(this.#state, word(key, { step, steps }), word("training.loss", { loss: loss.toPrecision(3) }));
    const times = { elapsed: clock(seconds + since), remaining: clock(Math.max(0, left - since)) };
    this.#time.textContent = word(live && !isDone ? "training.left" : "training.took", times);
  }

  #width() {
    return this.element.clientWidth || USUAL_WIDTH;
  }

  #resize() {
    this.#draw();
    this.#onHeight();
  }

  #draw() {
    this.#clips.element.style.height = `${this.#clips.height(this.#width())}px`;
    if (this.#course) {
      const { losses, each, step, steps, live } = this.#course;
      drawLosses(this.#curve, { losses, each, steps: live ? steps : step });
    }
    this.#clips.draw();
  }
}

/**
 * @param {number} seconds
 * @returns {string} such as 0:07, 12:30, 1:02:30
 */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const parts = hours ? [hours, String(minutes).padStart(2, "0")] : [minutes];
  return [...parts, String(whole % 60).padStart(2, "0")].join(":");
}

/**
 * @param {HTMLElement} row
 * @param {string[]} words for each of its parts
 */
function texts(row, ...words) {
  words.forEach((text, index) => (row.children[index].textContent = text));
}

/**
 * @param {"div" | "span"} kind
 * @param {string} [name]
 */
function element(kind, name = "") {
  const made = document.createElement(kind);
  made.className = name;
  return made;
}
