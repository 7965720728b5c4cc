"""From the workflow file that a person opens in the editor to the prompt that the server runs.

The same conversion as the front end's ``app.graphToPrompt()`` (1.32), for everything but subgraphs, dynamic
prompts (``{a|b}``), ``%...%`` replacements in file names, and the widgets of audio recorders and 3-D viewers.
A test in the real editor compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Workflow = dict[str, Any]
Prompt = dict[str, dict[str, Any]]

MUTED, BYPASSED = 2, 4
NOTES = ("Note", "MarkdownNote")
WIDGET_DEFAULTS = {"INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": "", "COMBO": None}
SEEDS = ("seed", "noise_seed")


class UnsupportedWorkflowError(ValueError):
    """The workflow holds something that cannot be converted without the editor, or is broken."""


def load(path: Path) -> Workflow:
    """Read a workflow file in the editor's format."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(workflow, dict) or "nodes" not in workflow:
        raise UnsupportedWorkflowError(f"{path} is not a workflow of the editor (it has no list of nodes).")
    return workflow


def to_prompt(workflow: Workflow, object_info: Mapping[str, Any]) -> Prompt:
    """Convert an editor workflow to an API prompt.

    Args:
        workflow: LiteGraph JSON, schema version 0.4 or 1.0.
        object_info: the server's answer to ``/object_info``, which says what each value of a node means.

    Raises:
        UnsupportedWorkflowError: subgraphs, unknown nodes, dynamic prompts, dangling links.
    """
    graph = _Graph(workflow, object_info)
    prompt = {
        str(node["id"]): {
            "inputs": graph.inputs(node),
            "class_type": node["type"],
            "_meta": {"title": _title(node, object_info)},
        }
        for node in graph.nodes.values()
        if node["type"] in object_info and node.get("mode", 0) not in (MUTED, BYPASSED)
    }
    for entry in prompt.values():
        entry["inputs"] = {
            name: value for name, value in entry["inputs"].items() if not _is_link(value) or value[0] in prompt
        }
    return prompt


def set_inputs(prompt: Prompt, values: Mapping[str, Any]) -> Prompt:
    """A copy of ``prompt`` with other inputs: keys are ``"<node title or class>.<input>"``; titles win.

    Raises:
        KeyError: no node, or more than one, answers to that name, or it has no such input.
    """
    changed = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in prompt.items()}
    for key, value in values.items():
        name, _, input_name = key.rpartition(".")
        titled = [node for node in changed.values() if node["_meta"]["title"] == name]
        found = titled or [node for node in changed.values() if node["class_type"] == name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} nodes in the workflow are called {name!r}; {key!r} needs exactly one.")
        if input_name not in found[0]["inputs"]:
            raise KeyError(f"{name!r} has no input {input_name!r}; it has {', '.join(found[0]['inputs'])}.")
        found[0]["inputs"][input_name] = value
    return changed


@dataclass(frozen=True)
class _Input:
    """An input as its node class defines it; ``options`` of a choice hold the list to choose from."""

    name: str
    kind: str
    options: Mapping[str, Any]

    @property
    def is_widget(self) -> bool:
        return self.options.get("widgetType", self.kind) in WIDGET_DEFAULTS and not self.options.get("forceInput")

    @property
    def has_control(self) -> bool:
        """Whether the editor puts "control after generate" after it, which takes one more saved value."""
        wanted = self.options.get("control_after_generate")
        if self.kind == "INT":
            return bool(self.name in SEEDS if wanted is None else wanted)
        return self.kind == "COMBO" and bool(wanted)

    @property
    def saved_values(self) -> int:
        """How many entries of ``widgets_values`` belong to it: a choice with control also has a filter."""
        return 1 + self.has_control + (self.has_control and self.kind == "COMBO")

    @property
    def default(self) -> Any:
        if self.kind == "COMBO":
            choices = self.options.get("options") or [None]
            return self.options.get("default") or choices[0]
        value = self.options.get("default")
        return WIDGET_DEFAULTS[self.options.get("widgetType", self.kind)] if value is None else value


def _defined_inputs(info: Mapping[str, Any]) -> list[_Input]:
    """The inputs of a node class in the editor's order: required before optional, as declared."""
    found = []
    for group in ("required", "optional"):
        inputs = info["input"].get(group, {})
        ordered = [name for name in info.get("input_order", {}).get(group, ()) if name in inputs]
        for name in dict.fromkeys([*ordered, *inputs]):
            kind, *rest = inputs[name]
            options = rest[0] if rest else {}
            if isinstance(kind, list):
                kind, options = "COMBO", {**options, "options": kind}
            found.append(_Input(name, kind, options))
    return found


class _Graph:
    """The nodes and links of one workflow, for following links to where a value really comes from."""

    def __init__(self, workflow: Workflow, object_info: Mapping[str, Any]) -> None:
        self.nodes = {node["id"]: node for node in workflow["nodes"]}
        self._info = object_info
        self._links = dict(_links(workflow))
        subgraphs = {graph["id"] for graph in workflow.get("definitions", {}).get("subgraphs", [])}
        for node in self.nodes.values():
            if node["type"] in subgraphs:
                raise UnsupportedWorkflowError(f"Node {node['id']} is a subgraph; unpack it in the editor first.")
            if node["type"] not in object_info and node["type"] not in (*NOTES, "Reroute", "PrimitiveNode"):
                raise UnsupportedWorkflowError(f"The server does not know the node {node['type']} ({node['id']}).")

    def inputs(self, node: dict[str, Any]) -> dict[str, Any]:
        """The value or ``[node id, output]`` of every connected or typed-in input of ``node``."""
        values = {name: boxed(value) for name, value in self._widget_values(node).items()}
        for slot in self._slots(node):
            if (source := self._source(node, slot, slot["type"])) is not None:
                values[slot["name"]] = source
        return values

    def _widget_values(self, node: dict[str, Any]) -> dict[str, Any]:
        saved = node.get("widgets_values") or []
        if not isinstance(saved, list):
            raise UnsupportedWorkflowError(f"Node {node['id']} ({node['type']}) stores its values by name.")
        values, position = {}, 0
        for definition in filter(lambda each: each.is_widget, _defined_inputs(self._info[node["type"]])):
            value = saved[position] if position < len(saved) else definition.default
            position += definition.saved_values
            primitive = self._primitive(node, definition.name)
            if primitive is not None:
                value = primitive["widgets_values"][0]
            if definition.options.get("dynamicPrompts") and any(mark in str(value) for mark in ("{", "//", "/*")):
                raise UnsupportedWorkflowError(f"Node {node['id']}: {definition.name} uses a dynamic prompt.")
            values[definition.name] = value
        return values

    def _primitive(self, node: dict[str, Any], name: str) -> dict[str, Any] | None:
        """The PrimitiveNode that feeds the widget ``name`` directly, if there is one."""
        for slot in node.get("inputs", []):
            if slot["name"] == name and slot.get("link") is not None:
                origin, _ = self._origin(slot["link"])
                if origin["type"] == "PrimitiveNode" and origin.get("widgets_values"):
                    return origin
        return None

    def _slots(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Input slots in the editor's order: sockets, then widgets, then whatever else the file holds."""
        saved = {slot["name"]: slot for slot in node.get("inputs", [])}
        if node["type"] not in self._info:
            return list(saved.values())
        defined = sorted(_defined_inputs(self._info[node["type"]]), key=lambda each: each.is_widget)
        slots = [{**saved.pop(each.name, {}), "name": each.name, "type": each.kind} for each in defined]
        return slots + list(saved.values())

    def _origin(self, link: Any) -> tuple[dict[str, Any], int]:
        if link not in self._links or self._links[link][0] not in self.nodes:
            raise UnsupportedWorkflowError(f"Link {link} leads nowhere; open and save the workflow in the editor.")
        node_id, slot = self._links[link]
        return self.nodes[node_id], slot

    def _source(
        self, node: dict[str, Any], slot: Mapping[str, Any], kind: str, seen: frozenset[Any] = frozenset()
    ) -> list[Any] | None:
        """Where the link into ``slot`` really comes from, through reroutes and bypassed nodes."""
        link = slot.get("link")
        if link is None:
            return None
        if link in seen:
            raise UnsupportedWorkflowError(f"Node {node['id']} is part of a circle of links.")
        origin, output = self._origin(link)
        inner = None
        if origin.get("mode") == BYPASSED:
            inner = self._bypass(origin, output, kind)
        elif origin["type"] in self._info:
            return [str(origin["id"]), output]
        elif origin["type"] == "Reroute":
            inner = origin["inputs"][0]
        return self._source(origin, inner, kind, seen | {link}) if inner else None

    def _bypass(self, node: dict[str, Any], output: int, kind: str) -> Mapping[str, Any] | None:
        """The input that stands in for ``output`` of a bypassed node, for a target of type ``kind``."""
        slots = self._slots(node)
        if kind in ("*", ""):
            return slots[output if output < len(slots) else 0] if slots else None
        output_kind = node["outputs"][output]["type"]

        def fits(slot: Mapping[str, Any]) -> bool:
            return _connects(slot["type"], output_kind) and _connects(slot["type"], kind)

        if output < len(slots) and fits(slots[output]):
            return slots[output]
        exact = (slot for slot in slots if slot["type"] == kind)
        return next(exact, None) or next(filter(fits, slots), None)


def _links(workflow: Workflow) -> Iterator[tuple[Any, tuple[Any, int]]]:
    """``link id -> (origin node id, origin slot)`` of either schema version."""
    for link in workflow.get("links", []):
        if isinstance(link, dict):
            yield link["id"], (link["origin_id"], link["origin_slot"])
        elif link:
            yield link[0], (link[1], link[2])


def _title(node: Mapping[str, Any], object_info: Mapping[str, Any]) -> str:
    info = object_info[node["type"]]
    return node.get("title") or info.get("display_name") or node["type"]


def boxed(value: Any) -> Any:
    """Lists are wrapped, because a bare list in a prompt is a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _connects(first: str, second: str) -> bool:
    """LiteGraph's rule: anything meets a wildcard, else one type of each comma list must agree."""
    if first in ("", "*") or second in ("", "*"):
        return True
    return not set(first.lower().split(",")).isdisjoint(second.lower().split(","))
