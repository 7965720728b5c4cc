"""What a graph says of one of its inputs, read off the prompt in the host's format: ``{id: {class_type, inputs}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..motion_embedding.node_text import running_node

Prompt = Mapping[str, Mapping[str, Any]]

_TEXTS = ("text", "prompt", "string", "value", "text_g", "text_l", "clip_l", "clip_g", "t5xxl")
_PASSED_ON = ("conditioning", "positive", "negative")
_UNKNOWN = "\0"  # a text that is made while the graph runs


def text_behind(prompt: Prompt | None, node: str | None, name: str) -> str:
    """The one text that the input ``name`` of ``node`` was made of; empty where there is none, or more than one.

    Nodes that change a conditioning are passed, by the side of it that is wired: positive or negative.
    """
    link = (prompt or {}).get(str(node), {}).get("inputs", {}).get(name)
    texts = _texts(prompt or {}, link, frozenset())
    return texts.pop() if len(texts) == 1 and _UNKNOWN not in texts else ""


def own_text(prompt: Prompt | None, name: str) -> str:
    """:func:`text_behind` the running node's input ``name``; empty outside a graph."""
    return text_behind(prompt, running_node(), name)


def is_link(value: Any) -> bool:
    """Whether an input's ``value`` is wired: the id of a node and the number of its output."""
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str)


def _texts(prompt: Prompt, value: Any, seen: frozenset[str]) -> set[str]:
    """Every text that ``value``, an input, may come from."""
    if isinstance(value, str):
        return {value.strip()} - {""}
    if not is_link(value) or value[0] in seen or value[0] not in prompt:
        return set()
    inputs, seen = prompt[value[0]].get("inputs", {}), seen | {value[0]}
    if own := [inputs[name] for name in _TEXTS if isinstance(inputs.get(name), str) or is_link(inputs.get(name))]:
        return set().union(*(_texts(prompt, one, seen) if _holds(prompt, one) else {_UNKNOWN} for one in own))
    links = {name: one for name, one in inputs.items() if is_link(one)}
    if {"positive", "negative"} <= links.keys():
        return _texts(prompt, links["negative" if value[1] == 1 else "positive"], seen)
    passed = {name: one for name, one in links.items() if name.startswith(_PASSED_ON)}
    followed = passed or (links if len(links) == 1 else {})
    return set().union(*(_texts(prompt, one, seen) for one in followed.values()))


def _holds(prompt: Prompt, text: Any) -> bool:
    """Whether ``text`` is one, or wired to a node that does nothing but hold or pass one on."""
    return isinstance(text, str) or len(prompt.get(text[0], {}).get("inputs", {})) == 1
