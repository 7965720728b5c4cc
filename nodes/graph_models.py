"""Which models a motion reaches in a graph, and of what family they are, as far as can be known before it runs."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import folder_paths

from ..motion_embedding.model_family import family_of_file
from ..motion_embedding.node_text import running_node
from .graph_text import Prompt, is_link

_USERS = {"ME_ApplyMotionEmbedding": "motion", "ME_TrainMotionEmbedding": "initial"}
_MAKERS = {
    "ME_LoadTextToVideoModel": "unet3d",
    "ME_LoadLatteModel": "latte",
    "ME_LoadAnimateDiffModel": "animatediff",
}
"""Nodes whose model is of one family, whatever they were given."""
_LOADERS = {
    "UNETLoader": ("diffusion_models", "unet_name"),
    "CheckpointLoaderSimple": ("checkpoints", "ckpt_name"),
    "ImageOnlyCheckpointLoader": ("checkpoints", "ckpt_name"),
}
_MOST_REMEMBERED = 256
_seen: OrderedDict[str, str] = OrderedDict()
"""By how a loader was set: the family of what it gave when the graph ran."""


def families_reached(prompt: Prompt, nodes: list[str]) -> list[str | None]:
    """The family of every model that a motion from one of ``nodes`` is put on; None for one that is not known."""
    return [_family(prompt, link) for node in nodes for link in _models(prompt, node)]


def remember(prompt: Prompt | None, name: str, family: str) -> None:
    """Note that the model on the input ``name`` of the running node, one of ``prompt``, is of ``family``."""
    prompt = prompt or {}
    link = prompt.get(str(running_node()), {}).get("inputs", {}).get(name)
    if source := _source(prompt, link):
        _seen[_settings(prompt, source)] = family
        _seen.move_to_end(_settings(prompt, source))
        if len(_seen) > _MOST_REMEMBERED:
            _seen.popitem(last=False)


def _models(prompt: Prompt, node: str) -> Iterator[Any]:
    """The model inputs, as links, of every node downstream of ``node`` that puts a motion on a model."""
    seen, waiting = {node}, [node]
    while waiting:
        source = waiting.pop()
        for name, other in prompt.items():
            inputs = other.get("inputs", {})
            wired = [key for key, value in inputs.items() if is_link(value) and value[0] == source]
            if not wired or name in seen:
                continue
            if (motion := _USERS.get(other.get("class_type", ""))) is None:
                seen.add(name)
                waiting.append(name)
            elif motion in wired:
                yield inputs.get("model")


def _source(prompt: Prompt, link: Any) -> str | None:
    """The node that the model on ``link`` comes from: one that makes it what it is, or the first of the chain."""
    seen: set[str] = set()
    while is_link(link) and link[0] in prompt and link[0] not in seen:
        node = prompt[link[0]]
        seen.add(link[0])
        inputs = node.get("inputs", {})
        before = [value for name, value in inputs.items() if name.startswith("model") and is_link(value)]
        if node.get("class_type") in _MAKERS or not before:
            return link[0]
        link = before[0]
    return None


def _family(prompt: Prompt, link: Any) -> str | None:
    source = _source(prompt, link)
    if source is None:
        return None
    kind, inputs = prompt[source].get("class_type"), prompt[source].get("inputs", {})
    if kind in _MAKERS:
        return _MAKERS[kind]
    if kind in _LOADERS:
        folder, name = _LOADERS[kind]
        file = inputs.get(name)
        path = folder_paths.get_full_path(folder, file) if isinstance(file, str) else None
        if path and (family := family_of_file(path)):
            return family
    return _seen.get(_settings(prompt, source))


def _settings(prompt: Prompt, node: str) -> str:
    """What ``node`` is and how it is set, as one string."""
    return json.dumps([prompt[node].get("class_type"), prompt[node].get("inputs", {})], sort_keys=True, default=str)
