/** Widgets that come to a node, or go from it, long after it was made. */

/**
 * Has the new node renderer look at the node's widgets again. Once one of their values or wires has changed it draws them
 * from a copy, in which those that come and go later are not; it looks again at what is added to the graph.
 * @param {HostNode} node
 */
export function drawWidgetsAgain(node) {
  if (window.LiteGraph?.vueNodesMode) node.graph?.onNodeAdded?.(node);
}
