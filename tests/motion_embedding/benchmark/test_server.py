"""The wrapper around ComfyUI, mostly against a real server."""

from __future__ import annotations

import json

import pytest

from motion_embedding.benchmark.job_prompt import build_prompt
from motion_embedding.benchmark.progress import Progress, parse
from motion_embedding.benchmark.server import Server, ServerError, WorkflowError
from motion_embedding.benchmark.work import Job
from tests.motion_embedding.benchmark.fakes import FAKE_COMFYUI, fake_python


def video_prompt(prefix: str = "host/clip", frames: int = 3) -> dict:
    """Blue frames into a video file; a new prefix makes only the last node run again."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": frames, "color": 255}},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8}},
        "3": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": prefix, "format": "auto", "codec": "auto"},
        },
    }


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "progress", "data": {"node": "4", "value": 2, "max": 9}}, Progress("4", 2, 9)),
        ({"type": "executing", "data": {"node": "4"}}, Progress("4", 0, 0)),
        ({"type": "executing", "data": {"node": None}}, None),
        ({"type": "status", "data": {}}, None),
    ],
)
def test_parse_finds_progress_among_the_messages(message, expected):
    assert parse(json.dumps(message)) == expected


def test_a_server_that_does_not_start_raises_with_the_end_of_its_log(tmp_path):
    with (
        pytest.raises(ServerError, match="no-such-number"),
        Server(FAKE_COMFYUI, tmp_path, arguments=["--fake-seconds", "no-such-number"], python=fake_python(tmp_path)),
    ):
        pass


@pytest.mark.server
def test_run_reports_progress_and_its_files_are_found(server):
    events = []
    history = server.run(video_prompt("host/run", frames=5), on_progress=events.append)
    assert [event.node_id for event in events] == ["1", "2", "3"]
    (file,) = server.outputs(history)
    assert file.parent == server.base / "output" / "host"
    assert file.is_file()


@pytest.mark.server
def test_an_invalid_prompt_names_the_node(server):
    prompt = video_prompt("host/invalid")
    prompt["3"]["inputs"]["video"] = ["1", 0]
    with pytest.raises(WorkflowError, match="mismatch") as caught:
        server.run(prompt)
    assert (caught.value.node_id, caught.value.node_class) == ("3", "SaveVideo")


@pytest.mark.server
def test_a_prompt_with_one_invalid_branch_is_refused_as_a_whole(server):
    prompt = video_prompt("host/half") | {"9": video_prompt()["3"]}
    prompt["9"]["inputs"]["video"] = ["1", 0]
    with pytest.raises(WorkflowError) as caught:
        server.run(prompt)
    assert caught.value.node_id == "9"


@pytest.mark.server
def test_a_failing_node_is_named_with_its_message(server):
    with pytest.raises(WorkflowError, match="outside the output folder") as caught:
        server.run(video_prompt("../../elsewhere"))
    assert (caught.value.node_id, caught.value.node_class) == ("3", "SaveVideo")


@pytest.mark.server
def test_interrupt_stops_before_the_next_node(server):
    prompt = video_prompt("host/interrupted")
    prompt["1"]["inputs"] |= {"width": 512, "height": 512, "batch_size": 8}
    blur = {"image": ["1", 0], "blur_radius": 15, "sigma": 5.0}
    prompt["4"] = {"class_type": "ImageBlur", "inputs": blur}
    prompt["2"]["inputs"]["images"] = ["4", 0]
    with pytest.raises(WorkflowError, match="interrupted"):
        server.run(prompt, on_progress=lambda event: server.interrupt() if event.node_id == "4" else None)
    assert not list((server.base / "output" / "host").glob("interrupted*"))


@pytest.mark.server
def test_upload_keeps_the_content_and_gives_a_new_name_to_other_content(server, tmp_path):
    file = tmp_path / "my clip.bin"
    file.write_bytes(bytes(range(256)))
    first = server.upload(file)
    assert first == server.upload(file) == "my clip.bin"
    assert (server.base / "input" / first).read_bytes() == bytes(range(256))
    file.write_bytes(b"other")
    assert server.upload(file) != first


@pytest.mark.server
@pytest.mark.parametrize("node", ["SaveVideo", "PreviewImage"])
def test_equal_prompts_of_two_jobs_both_write_their_files(server, node):
    """Also where the node has no prefix: the host shall not answer with a file that was taken away."""
    workflow = video_prompt(frames=2)
    workflow["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    for name in ("a", "b"):
        prompt, output = build_prompt(Job(name, "", workflow, {}, (), "", b"", node), "", {})
        files = server.outputs({"outputs": {output: server.run(prompt)["outputs"][output]}})
        assert files
        for file in files:
            file.unlink()  # fails where it is not there
