/** A message on a node, in the editor's error colours. It takes no room where there is none, and is never saved. */

import { passToCanvas } from "./canvas.js";
import { drawWidgetsAgain, takePlace } from "./late_widget.js";
import { makeRoom } from "./room.js";

/**
 * @typedef {{input: string, text: string}} Line what is wrong, and the node's input that it is about, or nothing
 */

const NAME = "error";
const OWN = "-1"; // as a subgraph lists what is on itself, not in it
const MARGIN = 4;
const LINE_HEIGHT = 16;
const PADDING = 12;
const LETTER = 6.5;
const HIGHEST = 240;
/** @type {WeakMap<HostNode, NodeMessage>} */
const shown = new WeakMap();
/** @type {WeakSet<HostNode>} */
const unlisted = new WeakSet();

/**
 * @param {HostNode} node
 * @param {Line[]} lines nothing: the message goes
 */
export function showMessage(node, lines) {
  const before = shown.get(node);
  if (before && lines.length) before.show(lines);
  else if (before) {
    before.remove();
    shown.delete(node);
  } else if (lines.length) shown.set(node, new NodeMessage(node, lines));
}

class NodeMessage {
  #node;
  /** @type {Line[]} */
  #lines = [];
  #widget;
  #text = document.createElement("div");
  #observer = new ResizeObserver(() => makeRoom(this.#node));

  /**
   * @param {HostNode} node
   * @param {Line[]} lines
   */
  constructor(node, lines) {
    this.#node = node;
    const element = document.createElement("div");
    element.className = "me-error";
    element.setAttribute("role", "alert");
    element.append(this.#text);
    // The text can be selected, to be searched for or sent to somebody.
    element.addEventListener("pointerdown", (event) => event.button === 0 && event.stopPropagation());
    element.addEventListener("copy", (event) => event.stopPropagation()); // the host would copy nodes
    element.style.maxHeight = `${HIGHEST}px`;
    element.addEventListener("wheel", (event) => {
      if (element.scrollHeight > element.clientHeight) event.stopImmediatePropagation();
    });
    const needs = () => this.#needs();
    this.#widget = node.addDOMWidget(NAME, "ME_ERROR", element, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: needs,
      getMaxHeight: needs,
    });
    this.#widget.serialize = false;
    passToCanvas(element);
    if (!unlisted.has(node)) leaveOut(node);
    this.#observer.observe(this.#text);
    drawWidgetsAgain(node);
    takePlace(node, element);
    this.show(lines);
  }

  /** @param {Line[]} lines */
  show(lines) {
    if (JSON.stringify(lines) === JSON.stringify(this.#lines)) return;
    this.#mark(false);
    this.#lines = lines;
    this.#text.replaceChildren(...lines.map((line) => paragraph(this.#node, line)));
    this.#mark(true);
    makeRoom(this.#node);
  }

  remove() {
    this.#observer.disconnect();
    this.#mark(false);
    if (this.#node.widgets?.includes(this.#widget)) this.#node.removeWidget(this.#widget);
    drawWidgetsAgain(this.#node);
    makeRoom(this.#node);
  }

  #needs() {
    const letters = this.#lines.map((line) => line.input.length + line.text.length);
    const guess = letters.map((count) => Math.ceil((count * LETTER) / this.#node.size[0]) * LINE_HEIGHT);
    const text = this.#text.offsetHeight || guess.reduce((sum, height) => sum + height, 0);
    return Math.min(text + PADDING, HIGHEST) + 2 * MARGIN;
  }

  /** @param {boolean} isWrong */
  #mark(isWrong) {
    for (const slot of this.#node.inputs ?? []) {
      slot.hasErrors = isWrong && this.#lines.some((line) => line.input === slot.name);
    }
  }
}

/**
 * A subgraph lists all that is on it. What it asks when it is saved stays: others may have come after us to be asked too.
 * @param {HostNode} node
 */
function leaveOut(node) {
  unlisted.add(node);
  const { onSerialize } = node;
  node.onSerialize = function (saved) {
    onSerialize?.call(this, saved);
    const listed = saved.properties?.proxyWidgets;
    if (shown.has(node) && saved.properties && Array.isArray(listed)) {
      saved.properties.proxyWidgets = listed.filter(([id, name]) => id !== OWN || name !== NAME);
    }
  };
}

/**
 * @param {HostNode} node
 * @param {Line} line
 */
function paragraph(node, { input, text }) {
  const made = document.createElement("p");
  const slot = node.inputs?.find((one) => one.name === input);
  const widget = node.widgets?.find((one) => one.name === input);
  const name = document.createElement("b");
  name.textContent = slot?.label ?? slot?.localized_name ?? widget?.label ?? input;
  made.append(...(input ? [name, ": "] : []), text);
  return made;
}
