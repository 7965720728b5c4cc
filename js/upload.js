/** Brings a file into ComfyUI's input folder: by a button, by dropping it on the node, by pasting it. */

import { notUploaded, uploadFile } from "./api.js";
import { asOneChange } from "./canvas.js";
import { word } from "./words.js";

const ENDINGS = [".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".gif", ".webp", ".apng"];
const ACCEPTED = ["video/*", ...ENDINGS].join(",");

/**
 * A button that uploads a clip, and the same for what is dropped or pasted on the node.
 * @param {HostNode} node
 * @param {string} name of the button's widget
 * @param {string} fileName of the widget that takes the uploaded file's name
 * @param {(message: string) => void} report told what goes wrong
 */
export function addUpload(node, name, fileName, report) {
  const take = async (/** @type {File[]} */ files) => {
    const clip = files.find(isClip);
    if (!clip) return false;
    try {
      choose(node, fileName, await uploadFile(clip));
    } catch (error) {
      report(notUploaded(clip, error));
    }
    return true;
  };
  // The new node renderer has an upload button of its own beside the list of files.
  const options = { serialize: false, canvasOnly: true };
  const button = node.addWidget("button", name, "image", () => ask(take), options);
  button.label = word("upload.choose");
  node.onDragOver = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
  node.onDragDrop = (/** @type {DragEvent} */ event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.some(isClip)) return false;
    take(files);
    return true;
  };
  node.previewMediaType = "video"; // what makes the host ask it to take a pasted video
  node.pasteFiles = (/** @type {File[]} */ files) => {
    if (!files.some(isClip)) return false;
    take(files);
    return true;
  };
  return { widget: button };
}

/** @param {File} file */
function isClip(file) {
  return file.type.startsWith("video/") || ENDINGS.some((ending) => file.name.toLowerCase().endsWith(ending));
}

/** @param {(files: File[]) => void} take */
function ask(take) {
  const input = document.createElement("input");
  Object.assign(input, { type: "file", accept: ACCEPTED });
  input.addEventListener("change", () => take([...(input.files ?? [])]));
  input.click();
}

/**
 * @param {HostNode} node
 * @param {string} widgetName
 * @param {string} file
 */
export function choose(node, widgetName, file) {
  const widget = node.widgets?.find((one) => one.name === widgetName);
  if (!widget) return;
  const values = widget.options?.values;
  if (Array.isArray(values) && !values.includes(file)) values.push(file);
  asOneChange(() => {
    widget.value = file;
    widget.callback?.(file);
  });
  node.graph?.setDirtyCanvas(true, true);
}
