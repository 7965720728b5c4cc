"""The converter, on small workflows written by hand; the real editor checks it in end_to_end/test_editor.py."""

from __future__ import annotations

import json

import pytest

from motion_embedding.benchmark.workflow import UnsupportedWorkflowError, load, set_inputs, to_prompt

OBJECT_INFO = {
    "Source": {"input": {"required": {"name": [["a", "b"], {}]}}, "display_name": "The Source"},
    "Pass": {"input": {"required": {"strength": ["FLOAT", {"default": 1.0}], "model": ["MODEL"]}}},
    "Sampler": {
        "input": {
            "required": {"model": ["MODEL"], "seed": ["INT", {"default": 7}], "steps": ["INT", {"default": 20}]},
            "optional": {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "mask": ["MASK"]},
        },
        "input_order": {"required": ["model", "seed", "steps"], "optional": ["mask", "text"]},
    },
    "Upload": {
        "input": {"required": {"file": ["COMBO", {"options": ["x.mp4"], "video_upload": True}], "count": ["INT"]}}
    },
}


def node(number, kind, values=None, links=None, mode=0, **more):
    """A saved node; ``links`` maps input names to link ids."""
    slots = [{"name": name, "type": "MODEL", "link": link} for name, link in (links or {}).items()]
    outputs = [{"name": "out", "type": "MODEL"}]
    saved = {"id": number, "type": kind, "mode": mode, "inputs": slots, "outputs": outputs, **more}
    return saved if values is None else {**saved, "widgets_values": values}


def convert(nodes, links=(), **more):
    return to_prompt({"nodes": nodes, "links": [[*link, "MODEL"] for link in links], **more}, OBJECT_INFO)


def inputs(prompt):
    return {number: entry["inputs"] for number, entry in prompt.items()}


def test_values_follow_the_input_order_and_step_over_the_seed_control():
    prompt = convert(
        [node(1, "Source", ["b"]), node(2, "Sampler", [5, "randomize", 30, "hi"], {"model": 9})], [(9, 1, 0, 2, 0)]
    )
    assert prompt == {
        "1": {"inputs": {"name": "b"}, "class_type": "Source", "_meta": {"title": "The Source"}},
        "2": {
            "inputs": {"seed": 5, "steps": 30, "text": "hi", "model": ["1", 0]},
            "class_type": "Sampler",
            "_meta": {"title": "Sampler"},
        },
    }


def test_values_that_the_file_lacks_are_the_defaults():
    assert inputs(convert([node(1, "Sampler"), node(2, "Source"), node(3, "Upload", [])])) == {
        "1": {"seed": 7, "steps": 20, "text": ""},
        "2": {"name": "a"},
        "3": {"file": "x.mp4", "count": 0},
    }


def test_the_upload_button_has_a_saved_value_but_no_input():
    assert inputs(convert([node(1, "Upload", ["mine.mp4", 3, "image"])]))["1"] == {"file": "mine.mp4", "count": 3}


def test_a_linked_widget_takes_the_link():
    prompt = convert(
        [node(1, "Source", ["a"]), node(2, "Sampler", [5, "fixed", 30, ""], {"steps": 4})], [(4, 1, 0, 2, 2)]
    )
    assert prompt["2"]["inputs"]["steps"] == ["1", 0]


def test_a_muted_node_takes_its_links_along():
    prompt = convert([node(1, "Source", ["a"], mode=2), node(2, "Pass", [0.5], {"model": 3})], [(3, 1, 0, 2, 0)])
    assert inputs(prompt) == {"2": {"strength": 0.5}}


def test_a_bypassed_node_and_a_reroute_hand_on_what_they_get():
    nodes = [
        node(1, "Source", ["a"]),
        node(2, "Pass", [0.5], {"model": 10}, mode=4),
        node(3, "Reroute", None, {"": 11}),
        node(4, "Sampler", [1, "fixed", 2, ""], {"model": 12}),
    ]
    prompt = convert(nodes, [(10, 1, 0, 2, 0), (11, 2, 0, 3, 0), (12, 3, 0, 4, 0)])
    assert prompt["4"]["inputs"]["model"] == ["1", 0]
    assert set(prompt) == {"1", "4"}


def test_a_bypassed_node_without_a_fitting_input_leaves_the_target_unconnected():
    prompt = convert([node(1, "Source", ["a"], mode=4), node(2, "Pass", [0.5], {"model": 3})], [(3, 1, 0, 2, 0)])
    assert inputs(prompt) == {"2": {"strength": 0.5}}


def test_a_primitive_sets_the_value_of_its_target():
    nodes = [node(1, "PrimitiveNode", [99, "fixed"]), node(2, "Sampler", [5, "fixed", 30, ""], {"steps": 4})]
    assert inputs(convert(nodes, [(4, 1, 0, 2, 2)])) == {"2": {"seed": 5, "steps": 99, "text": ""}}


def test_notes_are_left_out():
    assert convert([node(1, "Note", ["read me"]), node(2, "MarkdownNote", ["# read me"])]) == {}


def test_links_of_schema_version_1_are_objects():
    link = {"id": 3, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "MODEL"}
    nodes = [node(1, "Source", ["a"]), node(2, "Pass", [0.5], {"model": 3})]
    assert to_prompt({"nodes": nodes, "links": [link]}, OBJECT_INFO)["2"]["inputs"]["model"] == ["1", 0]


def test_a_list_value_is_boxed():
    assert convert([node(1, "Pass", [[1, 2]])])["1"]["inputs"] == {"strength": {"__value__": [1, 2]}}


@pytest.mark.parametrize(
    ("nodes", "more", "message"),
    [
        ([node(1, "Nowhere")], {}, "does not know the node Nowhere"),
        ([node(1, "some-uuid")], {"definitions": {"subgraphs": [{"id": "some-uuid"}]}}, "subgraph"),
        ([node(1, "Sampler", [1, "fixed", 2, "a {red|blue} star"])], {}, "dynamic prompt"),
        ([node(1, "Pass", [1.0], {"model": 5})], {}, "Link 5 leads nowhere"),
        ([node(1, "Pass", {"strength": 1})], {}, "by name"),
    ],
)
def test_what_cannot_be_converted_is_refused(nodes, more, message):
    with pytest.raises(UnsupportedWorkflowError, match=message):
        convert(nodes, **more)


def test_a_circle_of_reroutes_is_refused():
    nodes = [node(1, "Reroute", None, {"": 2}), node(2, "Reroute", None, {"": 1}), node(3, "Pass", [1.0], {"model": 3})]
    with pytest.raises(UnsupportedWorkflowError, match="circle"):
        convert(nodes, [(1, 1, 0, 2, 0), (2, 2, 0, 1, 0), (3, 1, 0, 3, 0)])


def test_set_inputs_finds_nodes_by_title_then_by_class_and_leaves_the_original():
    nodes = [node(1, "Sampler", title="First"), node(2, "Sampler", title="Pass"), node(3, "Pass", title="Third")]
    prompt = convert([*nodes, node(4, "Source")])
    changed = set_inputs(prompt, {"First.steps": 3, "Pass.seed": 4, "Source.name": "b"})
    assert inputs(changed) == {
        "1": {"seed": 7, "steps": 3, "text": ""},
        "2": {"seed": 4, "steps": 20, "text": ""},
        "3": {"strength": 1.0},
        "4": {"name": "b"},
    }
    assert inputs(prompt)["1"]["steps"] == 20


@pytest.mark.parametrize("key", ["Nobody.seed", "Sampler.seed", "First.colour", "seed"])
def test_set_inputs_refuses_a_name_that_is_unknown_or_ambiguous(key):
    prompt = convert([node(1, "Sampler", title="First"), node(2, "Sampler")])
    prompt["3"] = prompt["2"]
    with pytest.raises(KeyError):
        set_inputs(prompt, {key: 1})


def test_load_refuses_a_file_in_the_api_format(tmp_path):
    file = tmp_path / "prompt.json"
    file.write_text(json.dumps({"1": {"class_type": "Source", "inputs": {}}}))
    with pytest.raises(UnsupportedWorkflowError, match="not a workflow of the editor"):
        load(file)
