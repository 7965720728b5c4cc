"""Reading the ``methods`` of a manifest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .document import Section, existing_file, kind, suggestion
from .items import Method
from .job_prompt import JobError, build_prompt
from .work import Job
from .workflow import Prompt

FIELDS = ("clip", "prompt", "index", "seed")
"""What a pattern of ``videos`` may name in braces; ``index`` is the prompt's, from 1."""

_NEEDED, _OPTIONAL = ("clip", "prompt"), ("look", "seed")


def read_methods(section: Section, folder: Path) -> Iterator[Method]:
    """The methods of a manifest that lies in ``folder``. Raises :class:`InputError` for whatever is wrong."""
    if not section.values:
        raise InputError(section.path, "there is none.", "Describe at least one method.")
    for name in section.values:
        if not name.strip():
            raise InputError(section.at(name), "a method without a name.", "Give it one.")
        method = section.section(name, ("workflow", "inputs", "set", "output", "videos"))
        yield _made_elsewhere(name, method) if "videos" in method else _workflow_method(name, method, folder)


def blank_prompt(method: Method, nodes: Mapping[str, Any]) -> Prompt:
    """What every item of a workflow's method runs on a ComfyUI that knows ``nodes``, but for the items' own values.

    Raises :class:`JobError` for a workflow that cannot be converted and for titles or inputs that are not there.
    """
    own = {target: "" for key in method.inputs if key != "clip" for target in method.inputs[key]}
    job = Job("", "", method.workflow, {**method.values, **own}, method.inputs["clip"], "", b"", method.output)
    return build_prompt(job, "", nodes)[0]


def _made_elsewhere(name: str, section: Section) -> Method:
    for key in section.values:
        if key != "videos":
            cause = "a method with `videos` runs no workflow."
            raise InputError(section.at(key), cause, f"Remove `{key}` or `videos`.")
    pattern = section.text("videos")
    for field in re.findall(r"\{(.*?)\}", pattern):
        if field not in FIELDS:
            raise InputError(section.at("videos"), f"{{{field}}} is unknown.", suggestion(field, FIELDS))
    if "{clip}" not in pattern:
        raise InputError(section.at("videos"), "every clip would have the same file.", "Put {clip} in the pattern.")
    return Method(name, videos=pattern)


def _workflow_method(name: str, section: Section, folder: Path) -> Method:
    workflow = _workflow(section, folder)
    inputs = section.section("inputs", (*_NEEDED, *_OPTIONAL))
    if "prompt" not in inputs:
        mend = "Name the input that takes it; a workflow that takes none has `prompt: []`."
        raise InputError(inputs.at("prompt"), "it is missing.", mend)
    no_prompt = inputs.raw("prompt") == []
    keys = [key for key in (*_NEEDED, *_OPTIONAL) if key in _NEEDED or key in inputs]
    targets = {key: () if key == "prompt" and no_prompt else inputs.texts(key) for key in keys}
    changes = section.section("set", default={})
    values = {key: _plain(changes.at(key), value) for key, value in changes.values.items()}
    _check_targets([*((inputs.at(key), found) for key, found in targets.items()), (changes.path, tuple(values))])
    method = Method(name, workflow, targets, values, section.text("output"))
    if _is_of_the_server(workflow):  # the editor's format leaves out titles that only a server can tell
        try:
            blank_prompt(method, {})
        except JobError as error:
            raise InputError(section.path, str(error), "Write titles and inputs as in the workflow.") from error
    return method


def _workflow(section: Section, folder: Path) -> dict[str, Any]:
    place = section.at("workflow")
    file = existing_file(place, section.text("workflow"), folder)
    try:
        workflow = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(place, f"{file} is not JSON: {error}.", "Save the workflow in ComfyUI again.") from error
    if not (_is_of_the_editor(workflow) or _is_of_the_server(workflow)):
        mend = "Save it in ComfyUI: Workflow, Save, or Workflow, Export (API)."
        raise InputError(place, f"{file} is no workflow of ComfyUI.", mend)
    return workflow


def _is_of_the_editor(workflow: Any) -> bool:
    nodes = workflow.get("nodes") if isinstance(workflow, dict) else None
    return isinstance(nodes, list) and bool(nodes) and all(isinstance(node, dict) for node in nodes)


def _is_of_the_server(workflow: Any) -> bool:
    nodes = list(workflow.values()) if isinstance(workflow, dict) else []
    return bool(nodes) and all(isinstance(node, dict) and "class_type" in node for node in nodes)


def _plain(path: str, value: Any) -> Any:
    """A value that an input of a node can take."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(path, f"{value} is not a number.", "Write a finite number.")
    if not isinstance(value, str | int | float):
        raise InputError(path, f"it is {kind(value)}.", "Write text, a number, true or false.")
    return value


def _check_targets(places: list[tuple[str, tuple[str, ...]]]) -> None:
    """Every input is named as ``"Node title.input"``, and by one key only."""
    used: dict[str, str] = {}
    for place, targets in places:
        for target in targets:
            title, _, input_name = target.rpartition(".")
            if not title.strip() or not input_name.strip():
                raise InputError(place, f"{target!r} names no input.", 'Write "Node title.input".')
            if target in used:
                raise InputError(place, f"{target!r} is set by {used[target]} too.", "Set it in one place.")
            used[target] = place
