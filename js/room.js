/** Room on a node for what is never saved: in files, and for undo, the node is as high as its person made it. */

/** @typedef {{own: number, given: number}} Heights the person's, and what the node was given last */

/** @type {WeakMap<HostNode, Heights>} */
const rooms = new WeakMap();
/** @type {WeakSet<HostNode>} */
const hidden = new WeakSet();

/**
 * Makes the node as high as what is on it needs, and no higher than its person made it where that is enough.
 * @param {HostNode} node
 */
export function makeRoom(node) {
  const heights = { own: ownHeight(node), given: 0 };
  const height = Math.max(heights.own, node.computeSize()[1]);
  if (height !== node.size[1]) node.setSize([node.size[0], height]);
  heights.given = height;
  if (height === heights.own) rooms.delete(node);
  else rooms.set(node, heights);
  if (!hidden.has(node)) hideFromFiles(node);
  node.graph?.setDirtyCanvas(true, true);
}

/** @param {HostNode} node */
function ownHeight(node) {
  const heights = rooms.get(node);
  if (!heights) return node.size[1];
  // The new node renderer makes nodes as high as they need to be itself, which is not to be told from a person.
  return window.LiteGraph?.vueNodesMode ? heights.own : heights.own + node.size[1] - heights.given;
}

/** @param {HostNode} node */
function hideFromFiles(node) {
  hidden.add(node);
  const { onSerialize } = node;
  node.onSerialize = function (saved) {
    onSerialize?.call(this, saved);
    saved.size = [saved.size[0], ownHeight(node)];
  };
}
