/** Train Motion Embedding shows how it goes on while it runs, and how it went. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { asOneChange, passToCanvas } from "./canvas.js";
import { graphId, nodes } from "./graph.js";
import { drawWidgetsAgain, takePlace } from "./late_widget.js";
import { LOADER } from "./motion_files.js";
import { makeRoom } from "./room.js";
import { TrainingPanel } from "./training_panel.js";
import { choose } from "./upload.js";

/** @typedef {import("./training_panel.js").Course} Course */

const NODE = "ME_TrainMotionEmbedding";
const EVENT = "motion_embeddings.training";
const ENDS = ["execution_interrupted", "execution_error", "execution_success"];
const MARGIN = 4;
const LOADER_APART = 60;
/**
 * How every training of this page went, by graph and node: another tab's too, for when it is shown again.
 * @type {Map<string, Course>}
 */
const courses = new Map();
/** @type {Map<HostNode, TrainingPanel>} */
const panels = new Map();

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const training = {
  name: "MotionEmbeddings.Training",

  setup() {
    api.addEventListener(EVENT, (event) => hear(event.detail));
    for (const end of ENDS) api.addEventListener(end, (event) => close(event.detail.prompt_id));
    // A server that was started again tells of no end, only that it has nothing to do.
    api.addEventListener("status", (event) => event.detail?.exec_info?.queue_remaining === 0 && close());
  },

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    if (node.constructor.comfyClass !== NODE) return;
    const { onExecuted } = node;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      const [id] = [...trainings()].find(([, other]) => other === node) ?? [];
      if (id) take(id, node, output);
    };
  },

  afterConfigureGraph() {
    // Nodes in subgraphs are not told that they are gone.
    const here = new Set([...trainings()].map(([, node]) => node));
    for (const node of panels.keys()) if (!here.has(node)) dispose(node);
    for (const [id, node] of trainings()) {
      const course = courses.get(key(graphId(), id));
      if (course) show(node, course);
    }
    takeAll(app.nodeOutputs);
  },

  onNodeOutputsUpdated: takeAll,
};

/**
 * @param {Course & {node: string, run: string, workflow: string | null}} news
 */
function hear({ node: id, workflow, ...news }) {
  const at = key(workflow ?? graphId(), id);
  const known = courses.get(at);
  const course = { ...(known?.run === news.run ? known : {}), ...news, arrived: Date.now() };
  course.live = !course.kept && course.step < course.steps;
  courses.set(at, course);
  const node = workflow === null || workflow === graphId() ? nodeAt(id) : null;
  if (node) show(node, course);
}

/**
 * A run has ended, whatever way.
 * @param {string} [run] else all have
 */
function close(run) {
  for (const [at, course] of courses) {
    if ((run && course.run !== run) || !course.live) continue;
    courses.set(at, { ...course, live: false });
    for (const [id, node] of trainings()) if (key(graphId(), id) === at) show(node, { ...course, live: false });
  }
}

/**
 * What the nodes of the graph gave when they ran, by the host's own ids.
 * @param {Record<string, any>} outputs
 */
function takeAll(outputs) {
  for (const [id, node] of trainings()) {
    const graph = node.graph;
    const place = !graph || graph.isRootGraph ? String(node.id) : `${graph.id}:${node.id}`;
    take(id, node, outputs?.[place]);
  }
}

/**
 * Shows how a training went by what it gave. The host hands that to the node of this id in whatever graph is open.
 * @param {string} id
 * @param {HostNode} node
 * @param {any} output
 */
function take(id, node, output) {
  const went = output?.motion_training?.[0];
  if (!went) return;
  const at = key(graphId(), id);
  const isIt = (/** @type {Course} */ course) => course.seconds === went.seconds && course.loss === went.loss;
  const [owner] = [...courses].find(([, course]) => isIt(course)) ?? [at];
  if (owner !== at || courses.get(at)?.live) return;
  const known = courses.get(at);
  const course = { ...(known && isIt(known) ? known : {}), ...went, arrived: Date.now(), live: false };
  courses.set(at, course);
  show(node, course);
}

/**
 * @param {HostNode} node
 * @param {Course} course
 */
function show(node, course) {
  const panel = panels.get(node) ?? addPanel(node);
  panel.show(course);
  makeRoom(node);
}

/** @param {HostNode} node */
function addPanel(node) {
  const panel = new TrainingPanel(
    (file) => goOn(node, file),
    () => makeRoom(node),
  );
  panels.set(node, panel);
  const widget = node.addDOMWidget("training", "ME_TRAINING", panel.element, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => panel.height() + 2 * MARGIN,
  });
  widget.serialize = false;
  passToCanvas(panel.element);
  drawWidgetsAgain(node);
  takePlace(node, panel.element);
  const { onRemoved } = node;
  node.onRemoved = function (...args) {
    onRemoved?.apply(this, args);
    dispose(node);
  };
  return panel;
}

/** @param {HostNode} node */
function dispose(node) {
  panels.get(node)?.dispose();
  panels.delete(node);
}

/**
 * Puts a loader of the file below the node, wires it in, and takes another seed: the same would bring the same noise again.
 * @param {HostNode} node
 * @param {string} file
 */
function goOn(node, file) {
  const loader = /** @type {HostNode | null} */ (window.LiteGraph?.createNode(LOADER) ?? null);
  const { graph } = node;
  if (!loader || !graph) return;
  asOneChange(() => {
    graph.add(loader);
    loader.pos = [node.pos[0], node.pos[1] + node.size[1] + LOADER_APART];
    choose(loader, "motion_embedding", file);
    const seed = node.widgets?.find((one) => one.name === "seed");
    if (seed) {
      seed.value = Number(seed.value) + 1;
      seed.callback?.(seed.value);
    }
    loader.connect(0, node, "initial");
  });
  app.canvas.setDirty(true, true);
}

/**
 * The nodes that train, by the ids they have when the graph runs.
 * @returns {Generator<[string, HostNode]>}
 */
function* trainings() {
  for (const [id, node] of nodes()) if (node.constructor.comfyClass === NODE) yield [id, node];
}

/** @param {string} id */
function nodeAt(id) {
  return [...trainings()].find(([other]) => other === id)?.[1] ?? null;
}

/**
 * @param {string} graph
 * @param {string} id
 */
function key(graph, id) {
  return `${graph}/${id}`;
}
