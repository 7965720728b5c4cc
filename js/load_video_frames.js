/** Load Video Frames shows its clip. */

import { passToCanvas } from "./canvas.js";
import { ClipPanel } from "./clip_panel.js";
import { follow } from "./node_panel.js";
import { addUpload } from "./upload.js";

const NODE = "ME_LoadVideoFrames";
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
    follow(node, panel);
    passToCanvas(panel.element);
    const [width, height] = node.computeSize();
    // The new node renderer's widgets are higher than the canvas counts them.
    const room = window.LiteGraph?.vueNodesMode ? NEW_NODE.roomInVue : NEW_NODE.room;
    node.setSize([Math.max(width, NEW_NODE.width), height + room]);
    panel.refresh();
  },
};
