/** Load Motion Embedding shows its file and browses the others; motions dropped on the graph become such nodes. */

import { app } from "../../scripts/app.js";
import { asOneChange, passToCanvas } from "./canvas.js";
import { browseMotions } from "./motion_browser.js";
import { ENDING, LOADER, isMotion, uploadMotion } from "./motion_files.js";
import { MotionPanel } from "./motion_panel.js";
import { follow } from "./node_panel.js";
import { word } from "./words.js";

const COMMAND = "MotionEmbeddings.Browse";
const HEIGHT = 88;
const MARGIN = 4;
const WIDTH = 330;
const APART = 30;
const ELSEWHERE = "[data-node-id], .dom-widget, dialog, .p-dialog"; // what takes files itself
const TOLD_MS = 8000;
/** @type {WeakMap<HostNode, MotionPanel>} */
const panels = new WeakMap();

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const loadMotion = {
  name: "MotionEmbeddings.LoadMotion",

  commands: [{ id: COMMAND, label: () => word("motion.command"), icon: "pi pi-images", function: browse }],
  keybindings: [{ combo: { key: "m", alt: true, shift: true }, commandId: COMMAND }],

  setup() {
    // Before the host, whose own listener takes every file for a workflow.
    document.addEventListener("drop", dropped, { capture: true });
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
  /** @type {[number, number]} */
  const middle = [clientWidth / 2 / scale - offset[0] - WIDTH / 2, clientHeight / 2 / scale - offset[1] - HEIGHT];
  browseMotions({ chosen: "", choose: (file) => add(file, middle), families: async () => [] });
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
  if (!files.length || (event.target instanceof Element && event.target.closest(ELSEWHERE))) return;
  app.canvas.adjustMouseEvent(event);
  const { canvasX, canvasY } = /** @type {DragEvent & {canvasX: number, canvasY: number}} */ (event);
  const under = /** @type {HostNode | null} */ (app.canvas.graph?.getNodeOnPos(canvasX, canvasY) ?? null);
  if (under?.onDragOver?.(event)) return; // the host gives it to that node
  event.preventDefault();
  event.stopPropagation();
  takeAll(files, canvasX, canvasY);
}

/**
 * Motions become nodes; the first of the others is the host's, which may find a workflow in it.
 * @param {File[]} files
 * @param {number} x
 * @param {number} y
 */
async function takeAll(files, x, y) {
  const ours = await Promise.all(files.map(isMotion));
  let count = 0;
  for (const file of files.filter((_, index) => ours[index])) {
    const name = await upload(file);
    if (name) add(name, [x + APART * count, y + APART * count++]);
  }
  const other = files.find((_, index) => !ours[index]);
  if (other) await app.handleFile(other);
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
    const cause = error instanceof Error ? error.message : String(error);
    const detail = word("upload.failed", { file: file.name, cause });
    app.extensionManager.toast.add({ severity: "error", summary: word("motion.title"), detail, life: TOLD_MS });
    return null;
  }
}

/**
 * @param {string} file
 * @param {[number, number]} at
 */
function add(file, at) {
  const { graph } = app.canvas;
  const node = /** @type {HostNode | null} */ (window.LiteGraph?.createNode(LOADER) ?? null);
  if (!node || !graph) return;
  asOneChange(() => {
    node.pos = at;
    graph.add(node);
    panels.get(node)?.choose(file);
  });
  app.canvas.selectNode(node);
}
