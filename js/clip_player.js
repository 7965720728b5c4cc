/** Plays a part of a video in a loop, without sound. */

import { word } from "./words.js";

export class ClipPlayer {
  #video = document.createElement("video");
  #note = document.createElement("p");
  #begin = 0;
  #end = Infinity;
  #frame = 0;
  #onTime;
  #onState;

  /**
   * @param {(time: number) => void} onTime called with the second that is shown
   * @param {() => void} onState called when playing begins, ends, or turns out to be impossible
   */
  constructor(onTime, onState) {
    this.element = document.createElement("div");
    this.element.className = "me-clip-player";
    this.#onTime = onTime;
    this.#onState = onState;
    Object.assign(this.#video, { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
    this.#note.textContent = word("clip.unplayable_here");
    this.#note.hidden = true;
    this.element.append(this.#video, this.#note);
    this.#video.addEventListener("click", () => this.toggle());
    this.#video.addEventListener("error", () => this.#setPlayable(false));
    this.#video.addEventListener("loadedmetadata", () => this.#setPlayable(this.#video.videoWidth > 0));
    this.#video.addEventListener("loadeddata", () => this.seek(this.#begin));
    // Where the part ends with the clip, and where nothing is drawn for so long, it stops before it can be turned back.
    this.#video.addEventListener("ended", () => this.#again());
    this.#video.addEventListener("seeked", () => this.#onTime(this.#video.currentTime));
    for (const event of ["play", "pause"]) this.#video.addEventListener(event, () => this.#changed());
  }

  playable = false;

  get playing() {
    return !this.#video.paused;
  }

  /** @param {string} address of the file, or nothing */
  load(address) {
    this.#setPlayable(false);
    this.#note.hidden = true;
    if (address) this.#video.src = address;
    else this.#unload();
  }

  /**
   * @param {number} begin
   * @param {number} end
   */
  setRange(begin, end) {
    if (begin === this.#begin && end === this.#end) return;
    [this.#begin, this.#end] = [begin, end];
    if (!this.playing) this.seek(begin);
  }

  /** @param {number} time */
  seek(time) {
    if (this.playable) this.#video.currentTime = time;
  }

  toggle() {
    if (this.playing) this.#video.pause();
    else if (this.playable) this.#play();
  }

  dispose() {
    cancelAnimationFrame(this.#frame);
    this.#unload();
  }

  #play() {
    // Refused where the file has just been changed or removed: then there is nothing to play.
    this.#video.play().catch(() => this.#onState());
  }

  #again() {
    this.seek(this.#begin);
    this.#play();
  }

  #unload() {
    this.#video.pause();
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /** @param {boolean} playable */
  #setPlayable(playable) {
    this.playable = playable;
    this.#video.hidden = !playable;
    this.#note.hidden = playable;
    this.#onState();
  }

  #changed() {
    if (this.#video.ended) return; // it goes on at once
    cancelAnimationFrame(this.#frame);
    if (this.playing) this.#follow();
    this.#onState();
  }

  #follow() {
    const { currentTime, ended } = this.#video;
    if (ended) return;
    if (!isSeen(this.element.parentElement)) {
      this.#video.pause();
      return;
    }
    if (currentTime >= this.#end || currentTime < this.#begin - 0.1) this.seek(this.#begin);
    this.#onTime(Math.max(this.#begin, Math.min(currentTime, this.#end)));
    this.#frame = requestAnimationFrame(() => this.#follow());
  }
}

/**
 * Whether any of it is on the screen; nothing of a node is that is in a graph that is not shown.
 * @param {HTMLElement | null} element
 */
function isSeen(element) {
  if (!element?.clientWidth) return false;
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return right > 0 && bottom > 0 && left < window.innerWidth && top < window.innerHeight;
}
