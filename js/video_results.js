/** Nodes whose result is a video: Nodes 2.0 takes what a node without a video input shows for a picture. */

const NODES = new Set(["ME_CompareVideos", "ME_MeasureMotionTransfer"]);

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const videoResults = {
  name: "MotionEmbeddings.VideoResults",

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    if (NODES.has(node.constructor.comfyClass ?? "")) node.previewMediaType = "video";
  },
};
