/** A film strip with a range on it: two handles, and the part between them to move it whole. */

import { asOneChange, noteChange } from "./canvas.js";
import * as range from "./clip_range.js";
import { word } from "./words.js";

/**
 * @typedef {import("./clip_range.js").Choice} Choice
 * @typedef {import("./clip_range.js").Rate} Rate
 * @typedef {"start" | "end" | "range"} Part
 */

const CHANGES = { start: range.withStart, end: range.withEnd, range: range.moved };

export class FilmStrip {
  #pictures = document.createElement("canvas");
  #playhead = element("me-strip-playhead");
  #parts = { range: slider("range"), start: slider("start"), end: slider("end") };
  #image = new Image();
  #count = 1;
  /** @type {Choice | null} */
  #choice = null;
  /** @type {Rate | null} */
  #clip = null;
  /** @type {AbortController | null} */
  #drag = null;
  #onChange;

  /** @param {(change: {start: number, frames: number}, part: Part) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.element = element("me-strip");
    this.element.append(this.#pictures, this.#parts.range, this.#playhead, this.#parts.start, this.#parts.end);
    this.element.addEventListener("pointerdown", (event) => this.#grab(event));
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  dispose() {
    this.#drag?.abort();
  }

  /**
   * @param {string} address of `count` pictures side by side
   * @param {number} count
   */
  show(address, count) {
    this.#count = count;
    this.#pictures.width = 0; // what was there is of another clip
    this.#image = new Image();
    this.#image.addEventListener("load", () => this.draw());
    this.#image.src = address;
  }

  /**
   * Shows what is chosen; nothing to move where that is not known.
   * @param {Choice | null} choice
   * @param {Rate | null} clip
   */
  choose(choice, clip) {
    [this.#choice, this.#clip] = [choice, clip];
    this.element.classList.toggle("me-strip-fixed", !choice || !clip);
    this.#playhead.hidden = true;
    if (!choice || !clip) return;
    const [begin, end] = [Math.min(choice.start, clip.duration), range.end(choice, clip)];
    this.element.style.setProperty("--me-begin", `${(100 * begin) / clip.duration}%`);
    this.element.style.setProperty("--me-end", `${(100 * end) / clip.duration}%`);
    for (const [name, part] of Object.entries(this.#parts)) {
      const time = name === "end" ? end : begin;
      part.setAttribute("aria-valuemin", "0");
      part.setAttribute("aria-valuemax", clip.duration.toFixed(2));
      part.setAttribute("aria-valuenow", time.toFixed(2));
      part.setAttribute("aria-valuetext", word("strip.at", { time: time.toFixed(2), frames: choice.frames }));
    }
  }

  /** @param {number} time */
  mark(time) {
    this.#playhead.hidden = !this.#clip;
    if (this.#clip) this.#playhead.style.left = `${(100 * time) / this.#clip.duration}%`;
  }

  /** Fills the strip with as many pictures as fit without squeezing them. */
  draw() {
    const { clientWidth, clientHeight } = this.element;
    const { naturalWidth, naturalHeight } = this.#image;
    if (!clientWidth || !clientHeight || !naturalWidth) return;
    const [width, height] = [2 * clientWidth, 2 * clientHeight];
    Object.assign(this.#pictures, { width, height });
    const tile = naturalWidth / this.#count;
    const cells = Math.max(1, Math.min(this.#count, Math.round((width * naturalHeight) / (tile * height))));
    const across = width / cells;
    // As large a part of each picture as has the shape of its cell.
    const cut = Math.min(tile, (naturalHeight * across) / height);
    const down = Math.min(naturalHeight, (tile * height) / across);
    const context = this.#pictures.getContext("2d");
    for (let cell = 0; cell < cells; cell++) {
      const left = tile * Math.floor(((cell + 0.5) / cells) * this.#count) + (tile - cut) / 2;
      context?.drawImage(this.#image, left, (naturalHeight - down) / 2, cut, down, cell * across, 0, across, height);
    }
  }

  /** @param {PointerEvent} event */
  #grab(event) {
    const [choice, clip] = [this.#choice, this.#clip];
    if (event.button !== 0) return;
    event.stopPropagation();
    event.preventDefault();
    if (!choice || !clip) return;
    const pressed = this.#time(event, clip);
    const [begin, end] = [choice.start, range.end(choice, clip)];
    const part = this.#partAt(event.target) ?? (pressed - begin < end - pressed ? "start" : "end");
    this.#parts[part].focus({ preventScroll: true });
    const onPart = event.target === this.#parts[part];
    const from = part === "end" ? end : begin;
    const offset = onPart ? pressed - from : 0;
    const move = (/** @type {PointerEvent} */ moved) => {
      if (moved.pointerId !== event.pointerId || !this.element.clientWidth) return;
      this.#onChange(CHANGES[part](choice, clip, this.#time(moved, clip) - offset), part);
    };
    this.element.setPointerCapture(event.pointerId);
    this.#drag?.abort();
    this.#drag = new AbortController();
    const { signal } = this.#drag;
    const release = (/** @type {PointerEvent} */ released) => {
      if (released.pointerId !== event.pointerId) return;
      this.#drag?.abort();
      noteChange();
    };
    // Wherever the pointer is let go: the strip may be elsewhere in the page by then, or gone.
    window.addEventListener("pointermove", move, { capture: true, signal });
    window.addEventListener("pointerup", release, { capture: true, signal });
    window.addEventListener("pointercancel", release, { capture: true, signal });
    if (!onPart) move(event);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [choice, clip, part] = [this.#choice, this.#clip, this.#partAt(event.target)];
    if (!choice || !clip || !part || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    const pace = part === "range" ? 1 / clip.fps : range.step(choice, clip);
    const from = part === "end" ? range.end(choice, clip) : choice.start;
    let time;
    if (steps) time = from + steps * (event.shiftKey ? 10 : 1) * pace;
    else if (event.key === "Home") time = 0;
    else if (event.key === "End") time = clip.duration;
    else return;
    event.preventDefault();
    event.stopPropagation();
    asOneChange(() => this.#onChange(CHANGES[part](choice, clip, time), part));
  }

  /**
   * @param {EventTarget | null} target
   * @returns {Part | undefined}
   */
  #partAt(target) {
    if (target === this.#parts.start) return "start";
    if (target === this.#parts.end) return "end";
    return target === this.#parts.range ? "range" : undefined;
  }

  /**
   * @param {PointerEvent} event
   * @param {Rate} clip
   */
  #time(event, clip) {
    const { left, width } = this.element.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - left) / width)) * clip.duration;
  }
}

/** @param {string} name */
function element(name) {
  const made = document.createElement("div");
  made.className = name;
  return made;
}

/** @param {Part} part */
function slider(part) {
  const made = element(`me-strip-${part}`);
  made.tabIndex = 0;
  made.setAttribute("role", "slider");
  made.setAttribute("aria-label", word(`strip.${part}`));
  return made;
}
