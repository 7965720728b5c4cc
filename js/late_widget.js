/** Widgets with elements of their own in the new node renderer, where they come to a node long after it was made. */

import { app } from "../../scripts/app.js";

/**
 * Has the new node renderer look at the node's widgets again. Once one of their values or wires has changed it draws them
 * from a copy, in which those that come and go later are not; it looks again at what is added to the graph.
 * @param {HostNode} node
 */
export function drawWidgetsAgain(node) {
  if (window.LiteGraph?.vueNodesMode) node.graph?.onNodeAdded?.(node);
}

/**
 * Puts a widget's element where the new node renderer has left that of a former node: an undo makes the nodes anew under
 * their old ids, so that it takes them for those that it has drawn.
 * @param {HostNode} node
 * @param {HTMLElement} element known by its first class
 */
export function takePlace(node, element) {
  if (!window.LiteGraph?.vueNodesMode) return;
  // What is drawn for the first time has been drawn by then.
  requestAnimationFrame(() => {
    if (element.isConnected || !node.graph || node.graph !== app.canvas.graph) return;
    document.querySelector(`[data-node-id="${node.id}"] .${element.classList[0]}`)?.replaceWith(element);
  });
}
