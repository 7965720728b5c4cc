/** Load Video Frames shows its clip. */

import { passToCanvas } from "./canvas.js";
import { ClipPanel } from "./clip_panel.js";
import { takePlace } from "./late_widget.js";
import { addUpload } from "./upload.js";

export const NODE = "ME_LoadVideoFrames";
const UPLOAD_TYPE = "ME_CLIP_UPLOAD";
const LEAST_HEIGHT = 78;
const MARGIN = 4;
const NEW_NODE = { width: 330, room: 170, roomInVue: 250 };
/** @type {WeakMap<HostNode, ClipPanel>} */
const panels = new WeakMap();

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const loadVideoFrames = {
  name: "MotionEmbeddings.LoadVideoFrames",

  getCustomWidgets() {
    return {
      // Instead of the host's button, which takes no GIF or WebP and shows the whole file beside our panel.
      [UPLOAD_TYPE](created, name) {
        const node = /** @type {HostNode} */ (created);
        return addUpload(node, name, "file", (message) => panels.get(node)?.report(message));
      },
    };
  },

  beforeRegisterNodeDef(_type, definition) {
    const required = definition.input?.required;
    if (definition.name === NODE && required?.upload) required.upload = [UPLOAD_TYPE, {}];
  },

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    if (node.constructor.comfyClass !== NODE) return;
    const panel = new ClipPanel(node);
    panels.set(node, panel);
    const widget = node.addDOMWidget("clip", "ME_CLIP", panel.element, {
      serialize: false,
      hideOnZoom: false,
      margin: MARGIN,
      getMinHeight: () => LEAST_HEIGHT + 2 * MARGIN,
    });
    widget.serialize = false;
    followWidgets(node, panel);
    followNode(node, panel);
    passToCanvas(panel.element);
    const [width, height] = node.computeSize();
    // The new node renderer's widgets are higher than the canvas counts them.
    const room = window.LiteGraph?.vueNodesMode ? NEW_NODE.roomInVue : NEW_NODE.room;
    node.setSize([Math.max(width, NEW_NODE.width), height + room]);
    panel.refresh();
  },
};

/**
 * @param {HostNode} node
 * @param {ClipPanel} panel
 */
function followWidgets(node, panel) {
  for (const widget of node.widgets ?? []) {
    const before = widget.callback;
    widget.callback = function (...args) {
      const result = before?.apply(this, args);
      panel.refresh();
      return result;
    };
  }
}

/**
 * @param {HostNode} node
 * @param {ClipPanel} panel
 */
function followNode(node, panel) {
  const { onConfigure, onConnectionsChange, onRemoved } = node;
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
