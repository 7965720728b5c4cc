/** Two clips side by side, in a loop: the rows of a strip of pictures. */

const GAP = 6;
const SHARPER = 2;
const MOST_HEIGHT = 120;

/** @typedef {{jpeg: string, frames: number, rate: number}} Strip base64, pictures in a row, pictures in a second */

export class ClipPair {
  element = document.createElement("canvas");
  #image = new Image();
  #frames = 0;
  #shown = 0;
  #rate = 0;
  #timer = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {() => void} onLoad its pictures are there, and with them its height */
  constructor(onLoad) {
    this.element.className = "me-training-clips";
    this.element.hidden = true;
    this.#image.addEventListener("load", onLoad);
  }

  /** @param {Strip | undefined} strip */
  show(strip) {
    this.element.hidden = !strip;
    if (strip) {
      const address = `data:image/jpeg;base64,${strip.jpeg}`;
      if (this.#image.src !== address) this.#image.src = address;
      this.#frames = strip.frames;
    }
    this.#play(strip?.rate ?? 0);
  }

  /**
   * How high it is where it may be so wide.
   * @param {number} width
   */
  height(width) {
    if (this.element.hidden) return 0;
    const { naturalWidth, naturalHeight } = this.#image;
    const form = naturalWidth ? naturalHeight / 2 / (naturalWidth / this.#frames) : 1;
    return Math.min(MOST_HEIGHT, ((width - GAP) / 2) * form);
  }

  dispose() {
    this.#play(0);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const { naturalWidth, naturalHeight } = this.#image;
    const context = this.element.getContext("2d");
    if (!width || !height || !naturalWidth || !context) return;
    const scale = SHARPER * Math.max(1, window.devicePixelRatio);
    Object.assign(this.element, { width: width * scale, height: height * scale });
    context.scale(scale, scale);
    context.imageSmoothingQuality = "high";
    const [tile, row] = [naturalWidth / this.#frames, naturalHeight / 2];
    const half = (width - GAP) / 2;
    const fit = Math.min(half / tile, height / row);
    const [across, down] = [tile * fit, row * fit];
    const from = (this.#shown % this.#frames) * tile;
    for (const [side, begins] of [0, half + GAP].entries()) {
      const left = begins + (half - across) / 2;
      context.drawImage(this.#image, from, side * row, tile, row, left, (height - down) / 2, across, down);
    }
  }

  /** @param {number} rate pictures in a second; what plays at it goes on, however often it is shown again */
  #play(rate) {
    if (rate === this.#rate) return;
    this.#rate = rate;
    clearInterval(this.#timer);
    if (rate) this.#timer = setInterval(() => this.#step(), 1000 / rate);
  }

  #step() {
    if (this.#still.matches) return;
    this.#shown++;
    this.draw();
  }
}
