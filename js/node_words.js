/**
 * Nodes in the editor's language. The host reads `locales/` itself, but front ends before 1.35 forget the texts of
 * custom nodes when they load a language other than English, so that these are put where the host falls back to.
 */

import { loadWords, texts } from "./words.js";

const OURS = "ME_";

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const nodeWords = {
  name: "MotionEmbeddings.NodeWords",

  init: loadWords,

  beforeRegisterNodeDef(_type, definition) {
    const { nodeDefs, nodeCategories } = texts();
    const translated = definition.name.startsWith(OURS) && nodeDefs?.[definition.name];
    if (!translated) return;
    const { display_name, description, inputs = {}, outputs = {} } = translated;
    const category = nodeCategories?.[definition.category] ?? definition.category;
    Object.assign(definition, { display_name, description, category });
    for (const group of [definition.input?.required, definition.input?.optional]) {
      for (const [name, [, options]] of Object.entries(group ?? {})) {
        if (options && inputs[name]) options.tooltip = inputs[name].tooltip;
      }
    }
    definition.output_tooltips = definition.output_tooltips?.map((tooltip, at) => outputs[at]?.tooltip ?? tooltip);
  },

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    const name = node.constructor.comfyClass ?? "";
    const { inputs = {}, outputs = {} } = (name.startsWith(OURS) && texts().nodeDefs?.[name]) || {};
    for (const widget of node.widgets ?? []) widget.label = inputs[widget.name]?.name ?? widget.label;
    for (const input of node.inputs ?? []) input.localized_name = inputs[input.name]?.name ?? input.localized_name;
    node.outputs?.forEach((output, at) => {
      output.localized_name = outputs[at]?.name ?? output.localized_name;
    });
    // The host made the node as wide as its English names are.
    const [width, height] = node.computeSize();
    if (node.size[0] < width) node.setSize([width, Math.max(height, node.size[1])]);
  },
};
