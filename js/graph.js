/** The graph that is open. */

import { app } from "../../scripts/app.js";

/** What is known by it is known of two open workflows at once where they came from one file: they share it. */
export function graphId() {
  return String(app.rootGraph?.id);
}

/**
 * All its nodes, in subgraphs too, by the ids they have when it runs, such as 3:7 for node 7 of the subgraph that node 3
 * is. Where a subgraph is used more than once, so are its nodes.
 * @returns {Generator<[string, HostNode]>}
 */
export function* nodes(graph = app.rootGraph, above = "") {
  for (const node of graph?.nodes ?? []) {
    const id = `${above}${node.id}`;
    yield [id, /** @type {HostNode} */ (node)];
    if (node.isSubgraphNode()) yield* nodes(node.subgraph, `${id}:`);
  }
}
