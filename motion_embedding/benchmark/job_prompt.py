"""From a job to what the server runs: the workflow with its values, cut down to what the output needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .work import Job
from .workflow import Prompt, UnsupportedWorkflowError, boxed, set_inputs, to_prompt


class JobError(ValueError):
    """The job itself cannot be done, on this worker or any other: no reason to try again."""


def build_prompt(job: Job, clip_file: str, object_info: Mapping[str, Any]) -> tuple[Prompt, str]:
    """The API prompt of ``job``, and the id in it of the node that writes the result.

    ``clip_file`` is the name of the clip in the server's input folder. Only the output node and what leads to it are
    kept, so that of a graph with several results (with and without the motion) one is computed. The output node
    gets an input of its own per job, its ``filename_prefix`` or one that ComfyUI does not pass on: no job is answered
    from the server's cache with a file that has been collected and removed.

    Raises :class:`JobError` for a workflow that cannot be converted and for titles or inputs that are not there.
    """
    prompt = _api_prompt(job.workflow, object_info)
    output = _find(prompt, job.output)
    values = {**job.values, **dict.fromkeys(job.clip_inputs, clip_file)}
    try:
        prompt = set_inputs(prompt, {key: boxed(value) for key, value in values.items()})
    except KeyError as error:
        raise JobError(f"{error.args[0]} The nodes are: {_titles(prompt)}.") from error
    inputs = prompt[output]["inputs"]
    own = "filename_prefix" if isinstance(inputs.get("filename_prefix"), str) else "benchmark item"
    inputs[own] = f"benchmark/{job.id}"
    return needed_for(prompt, output), output


def needed_for(prompt: Prompt, output: str) -> Prompt:
    """The node ``output`` and all that it depends on, in the prompt's order."""
    needed, waiting = set(), [output]
    while waiting:
        node_id = waiting.pop()
        if node_id not in needed:
            needed.add(node_id)
            inputs = prompt[node_id]["inputs"].values()
            waiting += [
                str(value[0]) for value in inputs if isinstance(value, list) and value and str(value[0]) in prompt
            ]
    return {node_id: node for node_id, node in prompt.items() if node_id in needed}


def _api_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """A workflow file of either format as a prompt whose nodes all have a title."""
    try:
        if "nodes" in workflow:
            return to_prompt(dict(workflow), object_info)
        return {
            node_id: {"inputs": {}, **node, "_meta": {"title": node["class_type"], **node.get("_meta", {})}}
            for node_id, node in workflow.items()
        }
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise JobError(f"The workflow is broken ({error!r}); open it in ComfyUI and save it again.") from error
    except UnsupportedWorkflowError as error:
        raise JobError(str(error)) from error


def _find(prompt: Prompt, name: str) -> str:
    """The id of the one node with this title, else of this class."""
    titled = [node_id for node_id, node in prompt.items() if node["_meta"]["title"] == name]
    found = titled or [node_id for node_id, node in prompt.items() if node["class_type"] == name]
    if len(found) != 1:
        cause = f"{len(found)} nodes in the workflow are called {name!r}; the output must be exactly one."
        raise JobError(f"{cause} The nodes are: {_titles(prompt)}.")
    return found[0]


def _titles(prompt: Prompt) -> str:
    return ", ".join(sorted(repr(node["_meta"]["title"]) for node in prompt.values()))
