/** The part of Load Video Frames that shows the clip: player, film strip, and what will be decoded. */

import { describeClip, fileAddress, filmStripAddress } from "./api.js";
import { end } from "./clip_range.js";
import { ClipPlayer } from "./clip_player.js";
import { held, planned, wired } from "./clip_words.js";
import { FilmStrip } from "./film_strip.js";
import { isWired, shownName, takeEvents } from "./node_panel.js";
import { causeOf, word } from "./words.js";

/**
 * @typedef {import("./api.js").Clip} Clip
 * @typedef {import("./film_strip.js").Part} Part
 */

const SETTINGS = ["start", "frames", "fps", "stride", "width", "height", "resize", "multiple_of"];
const TIMING = ["start", "frames", "fps", "stride"];
const PICTURES = 16;
const PICTURE_HEIGHT = 64;
const ROOM_FOR_PLAYER = 150;
const PAUSE_MS = 150;

export class ClipPanel {
  #node;
  #strip = new FilmStrip((change, part) => this.#set(change, part));
  #player = new ClipPlayer((time) => this.#strip.mark(time), () => this.#showState());
  #play = document.createElement("button");
  #row = document.createElement("div");
  #plan = document.createElement("div");
  #file = document.createElement("div");
  #observer = new ResizeObserver(() => this.#fit());
  #timer = 0;
  #asked = 0;
  #shown = "";
  /** @type {Clip | null} */
  #clip = null;

  /** @param {HostNode} node */
  constructor(node) {
    this.#node = node;
    this.element = document.createElement("div");
    // The second class makes the new node renderer give the panel the free height of the node.
    this.element.className = "me-clip widget-expands";
    this.#play.className = "me-clip-play";
    this.#play.type = "button";
    this.#play.addEventListener("click", () => this.#player.toggle());
    this.#row.className = "me-clip-row";
    this.#row.append(this.#play, this.#strip.element);
    this.#plan.className = "me-clip-plan";
    this.#plan.setAttribute("aria-live", "polite");
    this.#file.className = "me-clip-file";
    this.element.append(this.#player.element, this.#row, this.#plan, this.#file);
    takeEvents(node, this.element);
    this.#observer.observe(this.element);
    this.#showState();
  }

  /** Reads the widgets again, soon. */
  refresh() {
    this.#showChoice();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), PAUSE_MS);
  }

  /** @param {string} message */
  report(message) {
    this.#say(message, "", true);
  }

  dispose() {
    clearTimeout(this.#timer);
    this.#asked++;
    this.#observer.disconnect();
    this.#strip.dispose();
    this.#player.dispose();
  }

  async #read() {
    if (!this.#node.graph) return; // a copy that the host makes and throws away
    const asked = ++this.#asked;
    if (isWired(this.#node, "video")) {
      this.#show("", null);
      this.#say(word("clip.other_video"), "", false);
      return;
    }
    const known = SETTINGS.filter((name) => !isWired(this.#node, name)).map((name) => [name, this.#value(name)]);
    const file = isWired(this.#node, "file") ? "" : String(this.#value("file"));
    if (!file) {
      this.#show("", null);
      this.#say(wired([shownName(this.#node, "file")]), "", false);
      return;
    }
    try {
      const { clip, plan, error } = await describeClip({ file, ...Object.fromEntries(known) });
      if (asked !== this.#asked) return;
      this.#show(clip ? file : "", clip);
      const unknown = SETTINGS.filter((name) => isWired(this.#node, name));
      const about = clip ? held(clip) : "";
      if (error) this.#say(error.message, about, !!clip || file !== "none");
      else if (unknown.length) this.#say(wired(unknown.map((name) => shownName(this.#node, name))), about, false);
      else if (plan) this.#say(planned(plan), plan.warning ?? about, false, !!plan.warning);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#say(word("clip.unknown", { cause: causeOf(error) }), "", true);
    }
  }

  /**
   * @param {string} file to show, or nothing
   * @param {Clip | null} clip
   */
  #show(file, clip) {
    this.#clip = clip;
    this.element.classList.toggle("me-clip-empty", !file);
    const shown = file && clip ? `${file}:${clip.changed}` : "";
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#player.load(clip && file ? fileAddress(file, clip) : "");
      if (clip && file) this.#strip.show(filmStripAddress(file, PICTURES, PICTURE_HEIGHT, clip.changed), PICTURES);
    }
    this.#showChoice();
  }

  #showChoice() {
    const choice = TIMING.some((name) => isWired(this.#node, name)) ? null : this.#choice();
    this.#strip.choose(choice, this.#clip);
    if (choice && this.#clip) this.#player.setRange(choice.start, end(choice, this.#clip));
    else this.#player.setRange(0, Infinity);
  }

  #choice() {
    const [start, frames, fps, stride] = TIMING.map((name) => Number(this.#value(name)));
    return { start, frames, fps, stride };
  }

  /**
   * Puts what the strip chose into the widgets.
   * @param {Record<string, number>} change
   * @param {Part} part
   */
  #set(change, part) {
    for (const widget of this.#node.widgets ?? []) {
      const value = change[widget.name];
      if (value === undefined || value === widget.value) continue;
      widget.value = value;
      widget.callback?.(value);
    }
    this.#node.graph?.setDirtyCanvas(true, true);
    const clip = this.#clip;
    if (!clip || this.#player.playing) return;
    const choice = this.#choice();
    // The last frame that is taken, not the end of its time.
    this.#player.seek(part === "end" ? Math.max(0, end(choice, clip) - 0.5 / clip.fps) : choice.start);
  }

  /** @param {string} name */
  #value(name) {
    return /** @type {string | number} */ (this.#node.widgets?.find((widget) => widget.name === name)?.value ?? "");
  }

  /**
   * @param {string} plan
   * @param {string} file
   * @param {boolean} isError
   * @param {boolean} [isWarning]
   */
  #say(plan, file, isError, isWarning = false) {
    this.#plan.textContent = this.#plan.title = plan;
    this.#file.textContent = this.#file.title = file;
    this.#plan.classList.toggle("me-clip-error", isError);
    this.#file.classList.toggle("me-clip-warning", isWarning);
  }

  #showState() {
    const { playing, playable } = this.#player;
    this.#play.disabled = !playable;
    this.#play.classList.toggle("me-clip-playing", playing);
    const action = word(playing ? "clip.pause" : "clip.play");
    this.#play.setAttribute("aria-label", action);
    this.#play.title = playable ? action : word("clip.unplayable");
  }

  #fit() {
    this.element.classList.toggle("me-clip-compact", this.element.clientHeight < ROOM_FOR_PLAYER);
    this.#strip.draw();
  }
}
