/** The part of Load Motion Embedding that shows the chosen file. */

import { wired } from "./clip_words.js";
import { browseMotions } from "./motion_browser.js";
import { connectedFamilies, findMotion } from "./motion_files.js";
import { motionPicture } from "./motion_picture.js";
import { date, kind, measures } from "./motion_words.js";
import { isWired, shownName, takeEvents } from "./node_panel.js";
import { choose } from "./upload.js";
import { causeOf, word } from "./words.js";

/** @typedef {import("./motion_files.js").MotionFile} MotionFile */

const WIDGET = "motion_embedding";
const PAUSE_MS = 60;

export class MotionPanel {
  #node;
  #picture = document.createElement("button");
  #kind = document.createElement("div");
  #size = document.createElement("div");
  #prompt = document.createElement("div");
  #browse = document.createElement("button");
  #timer = 0;
  #asked = 0;

  /** @param {HostNode} node */
  constructor(node) {
    this.#node = node;
    this.element = document.createElement("div");
    this.element.className = "me-motion";
    this.#picture.className = "me-motion-open";
    this.#picture.tabIndex = -1; // the button beside it does the same
    this.#picture.setAttribute("aria-hidden", "true");
    this.#browse.className = "me-motion-browse";
    this.#browse.textContent = word("motion.browse");
    for (const button of [this.#picture, this.#browse]) {
      button.type = "button";
      button.addEventListener("click", () => this.browse());
    }
    this.#kind.className = "me-motion-kind";
    this.#kind.setAttribute("aria-live", "polite");
    this.#size.className = this.#prompt.className = "me-motion-small";
    const facts = document.createElement("div");
    facts.className = "me-motion-facts";
    facts.append(this.#kind, this.#size, this.#prompt, this.#browse);
    this.element.append(this.#picture, facts);
    takeEvents(node, this.element);
    this.#show(null);
  }

  browse() {
    const widget = this.#node.widgets?.find((one) => one.name === WIDGET);
    browseMotions({
      chosen: String(widget?.value ?? ""),
      choose: (file) => this.choose(file),
      families: () => connectedFamilies(this.#node),
    });
  }

  /** @param {string} file */
  choose(file) {
    choose(this.#node, WIDGET, file);
    this.refresh();
  }

  /** Reads the widget and the file again, soon. */
  refresh() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), PAUSE_MS);
  }

  dispose() {
    clearTimeout(this.#timer);
    this.#asked++;
  }

  async #read() {
    if (!this.#node.graph) return; // a copy that the host makes and throws away
    const asked = ++this.#asked;
    if (isWired(this.#node, WIDGET)) {
      this.#show(null, wired([shownName(this.#node, WIDGET)]), true);
      return;
    }
    const widget = this.#node.widgets?.find((one) => one.name === WIDGET);
    const name = String(widget?.value ?? "");
    const files = widget?.options?.values;
    try {
      const file = name ? await findMotion(name, Array.isArray(files) && files.includes(name)) : null;
      if (asked !== this.#asked) return;
      if (file) this.#show(file);
      else this.#show(null, name ? word("motion.gone", { file: name }) : word("motion.nothing"), !name);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#show(null, word("motion.unlisted", { cause: causeOf(error) }));
    }
  }

  /**
   * @param {MotionFile | null} file
   * @param {string} [message] instead of it
   * @param {boolean} [isFine] whether the message is no trouble
   */
  #show(file, message, isFine = false) {
    const trouble = message ?? file?.trouble ?? "";
    this.#picture.replaceChildren(motionPicture(file));
    this.#kind.textContent = this.#kind.title = trouble || (file ? kind(file) : "");
    this.#kind.classList.toggle("me-motion-trouble", !!trouble);
    this.#kind.classList.toggle("me-clip-error", !!trouble && !isFine);
    this.#size.textContent = file && !trouble ? measures(file) : "";
    this.#size.title = file && !trouble ? date(file) : "";
    this.#prompt.textContent = this.#prompt.title = (!trouble && file?.prompt) || "";
  }
}
