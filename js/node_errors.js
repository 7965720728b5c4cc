/** What went wrong stands on the node, in words, until it is mended or tried again. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { graphId, nodes } from "./graph.js";
import { showMessage } from "./node_message.js";
import { word } from "./words.js";

/**
 * @typedef {import("./node_message.js").Line} Line
 * @typedef {{type: string, message: string, details: string,
 *   extra_info?: {input_name?: string, received_value?: unknown}}} Refusal as the host has it
 * @typedef {{class_type: string, errors: Refusal[]}} Refused
 * @typedef {{type: string, lines: Line[], failed?: boolean, inputs?: string}} Wrong failed: while it ran, else it was
 *   refused. inputs: what the node was given when it was told
 */

const OURS = "ME_";
const OUR_ERROR = /\bmotion_embedding\.errors\.InputError$/;
/**
 * What is wrong, by graph, and there by the node's id when the graph runs.
 * @type {Map<string, Map<string, Wrong>>}
 */
const wrong = new Map();
/** The graph that was queued last: an error may come when another is shown. */
let queued = "";

/** @type {import("@comfyorg/comfyui-frontend-types").ComfyExtension} */
export const nodeErrors = {
  name: "MotionEmbeddings.NodeErrors",

  setup() {
    api.addEventListener("promptQueued", takeRefusals);
    api.addEventListener("execution_error", (event) => takeError(event.detail));
    api.addEventListener("executing", (event) => event.detail && forget(String(event.detail)));
  },

  nodeCreated(created) {
    const node = /** @type {HostNode} */ (created);
    if (!node.constructor.comfyClass?.startsWith(OURS)) return;
    for (const widget of node.widgets ?? []) {
      const { callback } = widget;
      widget.callback = function (...args) {
        const result = callback?.apply(this, args);
        if (isWrong()) show();
        return result;
      };
    }
    const { onConnectionsChange } = node;
    node.onConnectionsChange = function (...args) {
      onConnectionsChange?.apply(this, args);
      if (isWrong()) queueMicrotask(show); // the link is not in the graph yet
    };
  },

  afterConfigureGraph: show,
};

/** The graph was queued: what was refused is no more, what the host refuses now is. */
function takeRefusals() {
  queued = graphId();
  // What runs for an instant has failed before the host tells that it was queued.
  const now = new Map([...(wrong.get(queued) ?? [])].filter(([, { failed }]) => failed));
  const answers = /** @type {Record<string, Refused>} */ (app.lastNodeErrors ?? {});
  for (const [id, { class_type: type, errors }] of Object.entries(answers)) {
    if (type.startsWith(OURS)) now.set(id, { type, lines: errors.map(inWords) });
  }
  wrong.set(queued, now);
  // The host marks the inputs of the graph as soon as it draws again.
  setTimeout(show);
}

/**
 * @param {{node_id: string, node_type: string, exception_message: string, exception_type: string,
 *   prompt_id: string}} error
 */
async function takeError({ node_id: id, node_type: type, exception_message: message, exception_type: kind, prompt_id: run }) {
  if (!type.startsWith(OURS) && !OUR_ERROR.test(kind)) return;
  const graph = (await graphOf(run)) ?? (holds(String(id), type) ? graphId() : queued);
  const others = wrong.get(graph) ?? new Map();
  wrong.set(graph, others.set(String(id), { type, failed: true, lines: [{ input: "", text: message.trim() }] }));
  show();
}

/**
 * The graph that a run is of: another may be shown by now, with nodes of the same ids.
 * @param {string} run
 * @returns {Promise<string | null>} nothing where the host does not know
 */
async function graphOf(run) {
  try {
    const { queue_running: running } = await (await api.fetchApi("/queue")).json();
    const one =
      running.find((/** @type {unknown[]} */ each) => each[1] === run) ??
      (await (await api.fetchApi(`/history/${run}`)).json())[run]?.prompt;
    return one?.[3]?.extra_pnginfo?.workflow?.id ?? null;
  } catch {
    return null;
  }
}

/**
 * The node runs now, in the graph that is shown or in the one that was queued last.
 * @param {string} id
 */
function forget(id) {
  let gone = false;
  for (const graph of new Set([queued, graphId()])) gone = wrong.get(graph)?.delete(id) || gone;
  if (gone) show();
}

/**
 * Whether the graph that is shown has that node.
 * @param {string} id
 * @param {string} type
 */
function holds(id, type) {
  for (const [at, node] of nodes()) if (at === id) return node.constructor.comfyClass === type;
  return false;
}

/**
 * @param {Refusal} refusal
 * @returns {Line}
 */
function inWords({ type, message, details, extra_info: about = {} }) {
  const input = about.input_name ?? "";
  if (type === "custom_validation_failed") return { input: "", text: details.replace(`${input} - `, "") };
  if (type === "required_input_missing") return { input, text: word("error.missing") };
  if (type === "value_not_in_list") return { input, text: word("error.gone", { value: String(about.received_value) }) };
  if (type.startsWith("exception")) return { input: "", text: details || message };
  return { input, text: input ? message : `${message}: ${details}` };
}

function isWrong() {
  return !!wrong.get(graphId())?.size;
}

/** Puts on every node what is wrong with it, unless its inputs have changed, and on a subgraph what is wrong in it. */
function show() {
  const known = wrong.get(graphId());
  for (const [id, node] of nodes()) {
    const one = known?.get(id);
    if (!one) continue;
    one.inputs ??= inputs(node);
    if (one.inputs !== inputs(node)) known?.delete(id);
  }
  const here = [...(known ?? [])];
  /** @type {Map<HostNode, Line[]>} one node may run under several ids */
  const all = new Map();
  for (const [id, node] of nodes()) {
    const inside = node.isSubgraphNode() ? `${id}:` : "";
    const concern = here.filter(([at, { type }]) =>
      inside ? at.startsWith(inside) : at === id && type === node.constructor.comfyClass,
    );
    const lines = concern.flatMap(([, { lines }]) => lines).map((line) => named(node, line));
    all.set(node, [...(all.get(node) ?? []), ...lines]);
  }
  for (const [node, lines] of all) showMessage(node, distinct(lines));
}

/**
 * What the node is given, to be compared.
 * @param {HostNode} node
 */
function inputs(node) {
  const values = node.widgets?.filter((one) => one.serialize !== false).map((one) => one.value);
  return JSON.stringify([node.mode, values, node.inputs?.map((one) => one.link ?? null)]);
}

/**
 * Our messages begin with the input's name and a colon.
 * @param {HostNode} node
 * @param {Line} line
 * @returns {Line}
 */
function named(node, line) {
  const [, input = "", text = ""] = line.text.match(/^(\w+): (.*)$/s) ?? [];
  const all = [...(node.inputs ?? []), ...(node.widgets ?? [])];
  return !line.input && all.some((one) => one.name === input) ? { input, text } : line;
}

/**
 * The host repeats an answer at every input that was looked at.
 * @param {Line[]} lines
 */
function distinct(lines) {
  return [...new Map(lines.map((line) => [`${line.input}: ${line.text}`, line])).values()];
}
