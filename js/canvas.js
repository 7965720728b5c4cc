/** Panels on nodes and the canvas around them. */

import { app } from "../../scripts/app.js";

const MIDDLE = 1;
const MIDDLE_HELD = 4;

/** What has changed until now is one step for undo: the host itself sees only what mouse and keys do. */
export function noteChange() {
  asOneChange(() => {});
}

/** @param {() => void} change one step for undo */
export function asOneChange(change) {
  app.canvas.emitBeforeChange();
  try {
    change();
  } finally {
    app.canvas.emitAfterChange();
  }
}

/**
 * The wheel zooms and the middle button moves the canvas over the panel as beside it. The new node renderer sees to
 * that itself.
 * @param {HTMLElement} element
 */
export function passToCanvas(element) {
  const { canvas } = app;
  /** @type {[keyof HTMLElementEventMap, (event: any) => void, (event: any) => boolean][]} */
  const passed = [
    ["wheel", (event) => canvas.processMouseWheel(event), () => true],
    ["pointerdown", (event) => canvas.processMouseDown(event), (event) => event.button === MIDDLE],
    ["pointermove", (event) => canvas.processMouseMove(event), (event) => (event.buttons & MIDDLE_HELD) !== 0],
    ["pointerup", (event) => canvas.processMouseUp(event), (event) => event.button === MIDDLE],
  ];
  for (const [type, pass, concerns] of passed) {
    element.addEventListener(type, (event) => {
      if (!concerns(event) || element.closest("[data-node-id]")) return;
      event.preventDefault();
      pass(event);
    });
  }
}
