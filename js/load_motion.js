/** Load Motion Embedding shows its file and browses the others; motions dropped on the graph become such nodes. */

import { app } from "../../scripts/app.js";
import { notUploaded } from "./api.js";
import { asOneChange, passToCanvas } from "./canvas.js";
import { graphId } from "./graph.js";
import { browseMotions } from "./motion_browser.js";
import { ENDING, LOADER, isMotion, uploadMotion } from "./motion_files.js";
import { MotionPanel } from "./motion_panel.js";
import { follow } from "./node_panel.js";
import { causeOf, word } from "./words.js";

/** @typedef {{x: number, y: number, graph: typeof app.canvas.graph, id: string}} Place id: of the workflow */

const COMMAND = "MotionEmbeddings.Browse";
const HEIGHT = 88;
const MARGIN = 4;
const WIDTH = 330;
const APART = 30;
const DIALOG = "dialog, .p-dialog";
const TOLD_MS = 8000;
/** @type {WeakMap<HostNode, MotionPanel>} */
const panels = new WeakMap();

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const loadMotion = {
  name: "MotionEmbeddings.LoadMotion",

  commands: [{ id: COMMAND, label: () => word("motion.command"), icon: "pi pi-images", function: browse }],
  keybindings: [{ combo: { key: "m", alt: true, shift: true }, commandId: COMMAND }],

  setup() {
    // After all that take files themselves, and before the host, which on the document takes every file for a workflow.
    document.body.addEventListener("drop", dropped);
    window.addEventListener("keydown", pressed);
  },

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    if (node.constructor.comfyClass !== LOADER) return;
    const panel = new MotionPanel(node);
    panels.set(node, panel);
    const widget = node.addDOMWidget("motion", "ME_MOTION", panel.element, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: () => HEIGHT + 2 * MARGIN,
      getMaxHeight: () => HEIGHT + 2 * MARGIN,
    });
    widget.serialize = false;
    passToCanvas(panel.element);
    follow(node, panel);
    keepRoom(node);
    takeDrops(node);
    const [width, height] = node.computeSize();
    node.setSize([Math.max(width, WIDTH), height]);
    panel.refresh();
  },
};

/** @param {HostNode} node */
function takeDrops(node) {
  node.onDragOver = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
  node.onDragDrop = (event) => {
    const [file] = candidates(event);
    if (!file) return false;
    replace(node, file);
    return true;
  };
}

/**
 * Graphs from before there was a picture have no room for it.
 * @param {HostNode} node
 */
function keepRoom(node) {
  const { onConfigure } = node;
  node.onConfigure = function (...args) {
    onConfigure?.apply(this, args);
    const height = node.computeSize()[1];
    if (node.size[1] < height) node.setSize([node.size[0], height]);
  };
}

/** For the chosen loader, or for a new one in the middle of what is seen. */
function browse() {
  const chosen = [...(app.canvas.selectedItems ?? [])].find((item) => panels.has(/** @type {HostNode} */ (item)));
  if (chosen) {
    panels.get(/** @type {HostNode} */ (chosen))?.browse();
    return;
  }
  const { offset, scale } = app.canvas.ds;
  const { clientWidth, clientHeight } = app.canvas.canvas;
  const middle = place(
    clientWidth / 2 / scale - offset[0] - WIDTH / 2,
    clientHeight / 2 / scale - offset[1] - HEIGHT,
  );
  browseMotions({ chosen: "", choose: (file) => add(file, middle), families: async () => [] });
}

/**
 * Browses where the host does not know the shortcut by its key: on a Mac, Option makes another letter of it.
 * @param {KeyboardEvent} event
 */
function pressed(event) {
  const { code, altKey, shiftKey, ctrlKey, metaKey, target, defaultPrevented } = event;
  const isShortcut = code === "KeyM" && altKey && shiftKey && !ctrlKey && !metaKey;
  const isWriting = target instanceof HTMLElement && (target.matches("input, textarea") || target.isContentEditable);
  if (!navigator.userAgent.includes("Mac") || !isShortcut || isWriting || defaultPrevented) return;
  event.preventDefault();
  browse();
}

/**
 * The files of a drop, where they may all be motions; what they are is seen in the files alone.
 * @param {DragEvent} event
 */
function candidates(event) {
  const files = [...(event.dataTransfer?.files ?? [])];
  return files.every((file) => file.name.endsWith(ENDING)) ? files : [];
}

/** @param {DragEvent} event */
function dropped(event) {
  const files = candidates(event);
  const { graph } = app.canvas;
  const isInDialog = event.target instanceof Element && event.target.closest(DIALOG);
  if (!files.length || !graph || isInDialog || event.defaultPrevented) return;
  app.canvas.adjustMouseEvent(event);
  const { canvasX, canvasY } = /** @type {DragEvent & {canvasX: number, canvasY: number}} */ (event);
  const under = /** @type {HostNode | null} */ (graph.getNodeOnPos(canvasX, canvasY) ?? null);
  const takesFiles = !!under?.onDragOver?.(event);
  if (takesFiles && graph.isRootGraph) return; // the host gives it to that node
  event.preventDefault();
  event.stopPropagation();
  app.dragOverNode = null; // in a subgraph, too, the host looks for one in the root graph
  if (takesFiles && under?.onDragDrop?.(event)) return;
  takeAll(files, place(canvasX, canvasY));
}

/**
 * Motions become nodes; the first of the others is the host's, which may find a workflow in it.
 * @param {File[]} files
 * @param {Place} at
 */
async function takeAll(files, at) {
  const ours = await Promise.all(files.map(isMotion));
  let count = 0;
  for (const file of files.filter((_, index) => ours[index])) {
    const name = await upload(file);
    if (name) add(name, { ...at, x: at.x + APART * count, y: at.y + APART * count++ });
  }
  const other = files.find((_, index) => !ours[index]);
  if (!other) return;
  try {
    await app.handleFile(other);
  } catch (error) {
    complain(other.name, causeOf(error));
  }
}

/**
 * @param {HostNode} node
 * @param {File} file
 */
async function replace(node, file) {
  const name = await upload(file);
  if (name) panels.get(node)?.choose(name);
}

/**
 * @param {File} file
 * @returns {Promise<string | null>} its name on the server; nothing where it could not be brought there, which is told
 */
async function upload(file) {
  try {
    return await uploadMotion(file);
  } catch (error) {
    complain(word("motion.title"), notUploaded(file, error));
    return null;
  }
}

/**
 * @param {string} summary
 * @param {string} detail
 */
function complain(summary, detail) {
  app.extensionManager.toast.add({ severity: "error", summary, detail, life: TOLD_MS });
}

/**
 * A place in the graph that is shown now.
 * @param {number} x
 * @param {number} y
 * @returns {Place}
 */
function place(x, y) {
  return { x, y, graph: app.canvas.graph, id: graphId() };
}

/**
 * Adds a loader, unless another workflow is open by now: then the file is on the server, and no more.
 * @param {string} file
 * @param {Place} at
 */
function add(file, { x, y, graph, id }) {
  const node = /** @type {HostNode | null} */ (window.LiteGraph?.createNode(LOADER) ?? null);
  if (!node || !graph || graphId() !== id) return;
  asOneChange(() => {
    node.pos = [x, y];
    graph.add(node);
    panels.get(node)?.choose(file);
  });
  if (app.canvas.graph === graph) app.canvas.selectNode(node);
}
