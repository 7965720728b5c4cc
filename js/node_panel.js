/** What the panels on our nodes have in common: they follow what their node holds, and take what is meant for it. */

import { takePlace } from "./late_widget.js";

/** @typedef {{element: HTMLElement, refresh: () => void, dispose: () => void}} Panel */

/**
 * Has the panel read the node again whenever what it shows may be another.
 * @param {HostNode} node
 * @param {Panel} panel
 */
export function follow(node, panel) {
  for (const widget of node.widgets ?? []) {
    const { callback } = widget;
    widget.callback = function (...args) {
      const result = callback?.apply(this, args);
      panel.refresh();
      return result;
    };
  }
  const { onAdded, onConfigure, onConnectionsChange, onRemoved } = node;
  node.onAdded = function (...args) {
    onAdded?.apply(this, args);
    panel.refresh();
  };
  node.onConfigure = function (...args) {
    onConfigure?.apply(this, args);
    takePlace(node, panel.element);
    panel.refresh();
  };
  node.onConnectionsChange = function (...args) {
    onConnectionsChange?.apply(this, args);
    panel.refresh();
  };
  node.onRemoved = function (...args) {
    onRemoved?.apply(this, args);
    panel.dispose();
  };
}

/**
 * What a panel reacts to must not move its node, and what is dropped on it is dropped on the node.
 * @param {HostNode} node
 * @param {HTMLElement} element
 */
export function takeEvents(node, element) {
  element.addEventListener("pointerdown", (event) => event.button === 0 && event.stopPropagation());
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    if (element.closest("[data-node-id]")) return; // the new node renderer asks the node itself
    event.preventDefault();
    if (node.onDragDrop?.(event)) event.stopPropagation();
  });
}

/**
 * Whether another node gives what the input takes.
 * @param {HostNode} node
 * @param {string} name
 */
export function isWired(node, name) {
  return !!node.inputs?.some((input) => input.name === name && (input.link ?? null) !== null);
}

/**
 * An input as the editor names it.
 * @param {HostNode} node
 * @param {string} name
 */
export function shownName(node, name) {
  const input = node.inputs?.find((one) => one.name === name);
  return input?.label ?? input?.localized_name ?? name;
}
