"""The main job over HTTP: the shipped workflow learns a held-out clip's motion and puts it into new scenes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from demo import references
from demo.host import Server
from demo.run import SCENES, WORKFLOW, Reference, Result, make, measure, read_frames, shipped
from demo.tiny_model.world import Look
from motion_embedding import files
from motion_embedding.benchmark.server import WorkflowError
from motion_embedding.benchmark.workflow import load, set_inputs, to_prompt

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def held_out() -> Reference:
    """Its look and its exact path are in no training set: clips there are drawn at random."""
    return shipped("circle")


@pytest.fixture(scope="module")
def results(server: Server, tiny_model: Path, held_out: Reference, tmp_path_factory) -> list[Result]:
    folder = tmp_path_factory.mktemp("results")
    looks = [look for look in SCENES if look.color != "blue" and look.shape != "square"][:3]
    return [make(server, held_out, look.prompt, look, folder, {}) for look in looks]


def test_the_motion_carries_over_and_the_look_stays_out(held_out: Reference, results: list[Result]) -> None:
    source = read_frames(held_out.video, held_out)
    scores = [measure(held_out, source, r) for r in results]

    def mean(kind: str, name: str) -> float:
        return float(np.mean([s[kind][name] for s in scores]))

    assert mean("without", "object_track_correlation") < 0.4
    assert mean("with", "object_track_correlation") >= 0.8
    assert mean("with", "color_right") >= 0.9
    assert mean("with", "reference_color_leaked") == 0
    assert mean("with", "motion_fidelity") > mean("without", "motion_fidelity")


def test_results_are_videos_of_the_right_form(results: list[Result]) -> None:
    for result in results:
        assert result.without.shape == result.carried.shape == (8, 256, 256, 3)


def test_the_motion_was_saved_and_can_be_read(server: Server, results: list[Result]) -> None:
    folder = server.base / "models" / "motion_embeddings"
    saved = sorted(folder.glob("circle*.safetensors"))
    assert len(saved) == 1, "the training of the first scene is reused by the others"
    motion = files.load(saved[0])
    assert (motion.frames, motion.fps, motion.prediction) == (8, 8.0, "sample")
    assert saved[0].stat().st_size < 2e6


def test_a_saved_motion_is_used_by_the_other_workflow(server: Server, results: list[Result]) -> None:
    """Server-side files are all it needs; the result moves like the reference."""
    workflow = load(WORKFLOW.with_name("use_a_saved_motion.json"))
    prompt = set_inputs(
        to_prompt(workflow, server.object_info()),
        {"Motion.motion_embedding": "circle.safetensors", "New scene.text": "a yellow circle on a gray background"},
    )
    (video,) = [p for p in server.outputs(server.run(prompt)) if p.suffix == ".mp4"]
    result = Result("", Look("yellow", "circle", "gray"), *(read_frames(video),) * 2)
    source = read_frames(references.CLIPS / "circle.mp4", shipped("circle"))
    assert measure(shipped("circle"), source, result)["with"]["object_track_correlation"] >= 0.8


class TestRefusals:
    """Each names the node, the input and the mend, before any long work."""

    def refused(self, server: Server, changes: dict, held_out: Reference) -> WorkflowError:
        base = to_prompt(load(WORKFLOW), server.object_info())
        upload = {"Reference clip.file": server.upload(held_out.video)}
        with pytest.raises(WorkflowError) as caught:
            server.run(set_inputs(base, {**upload, **changes}))
        return caught.value

    def test_unwritable_name(self, server, tiny_model, held_out) -> None:
        error = self.refused(server, {"Save the motion.filename": "../../outside"}, held_out)
        assert "filename" in str(error) and "plain name" in str(error)

    def test_missing_model(self, server, tiny_model, held_out) -> None:
        error = self.refused(server, {"Model.folder": "gone"}, held_out)
        assert "folder: there is no text-to-video model 'gone'" in str(error)

    def test_half_copied_model(self, server, tiny_model, held_out) -> None:
        half = server.base / "models" / "diffusers" / "half"
        shutil.copytree(tiny_model, half)
        weights = half / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100_000])
        error = self.refused(server, {"Model.folder": "half"}, held_out)
        assert "folder" in str(error) and "diffusion_pytorch_model.safetensors" in str(error)

    def test_pattern_without_a_layer(self, server, tiny_model, held_out) -> None:
        changes = {"Learn the motion.layers": "custom", "Learn the motion.layer_pattern": "decoder.*"}
        error = self.refused(server, changes, held_out)
        assert error.node_class == "ME_TrainMotionEmbedding"
        assert "'decoder.*' matches no temporal layer" in str(error)


def test_cancel_over_http_keeps_what_was_learnt(server: Server, tiny_model: Path, held_out: Reference) -> None:
    steps = 1000  # more than are made while a busy machine passes the word on
    clip = {"Reference clip.file": server.upload(held_out.video)}
    training = {"Learn the motion.seed": 99, "Learn the motion.steps": steps}
    prompt = set_inputs(to_prompt(load(WORKFLOW), server.object_info()), {**clip, **training})
    node = next(n for n, part in prompt.items() if part["class_type"] == "ME_TrainMotionEmbedding")
    seen = []

    def cancel_at_step_three(progress) -> None:
        if progress.node_id == node and progress.total:
            seen.append(progress.value)
            if progress.value == 3:
                server.interrupt()

    with pytest.raises(WorkflowError, match=r"(?i)interrupt|cancel"):
        server.run(prompt, cancel_at_step_three)
    assert max(seen) < steps
    kept = list((server.base / "models" / "motion_embeddings" / "cancelled").glob("*.safetensors"))
    assert len(kept) == 1
    assert max(seen) <= files.read_metadata(kept[0])["training"]["done"] < steps
