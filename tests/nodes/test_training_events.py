"""What the editor is sent of a training."""

from __future__ import annotations

import base64
import json
import sys
from io import BytesIO
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.host


@pytest.fixture
def sent(comfy, monkeypatch) -> list[tuple[str, dict[str, Any], str]]:
    """Everything a stand-in for the server was given, while node 3:7 of the prompt p runs."""
    from comfy_execution.utils import CurrentNodeContext

    received: list[tuple[str, dict[str, Any], str]] = []
    instance = SimpleNamespace(
        client_id="page", send_sync=lambda *message: received.append(message), send_progress_text=lambda *text: None
    )
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace(instance=instance)))
    with CurrentNodeContext("p", "3:7"):
        yield received


def node(rig, **changes: Any) -> Any:
    inputs = {"preset": "object motion", "steps": 3, "learning_rate": 0.1, "loss": "base", "layers": "as preset"}
    cls = rig.part("nodes.training").TrainMotionEmbedding
    with torch.inference_mode():
        return cls.execute(
            rig.model,
            rig.prompt("a"),
            {"samples": rig.latents()},
            **{**inputs, "seed": 0, "preview_steps": 2, **changes},
        )


def test_the_page_hears_of_its_own_node(rig, sent) -> None:
    output = node(rig, fps=4.0)
    events = [data for event, data, page in sent if (event, page) == ("motion_embeddings.training", "page")]
    assert len(events) == len(sent) >= 2
    assert all((e["node"], e["run"], e["workflow"]) == ("3:7", "p", None) for e in events)
    last = events[-1]
    assert (last["step"], last["steps"], last["each"], last["left"]) == (3, 3, 1, 0)
    assert last["losses"] == output.result[1]["loss"]
    assert last["loss"] == output.result[0].training["final_loss"]
    assert json.loads(json.dumps(events)) == events
    strip = Image.open(BytesIO(base64.b64decode(last["strip"]["jpeg"])))
    assert (last["strip"]["frames"], last["strip"]["rate"], strip.size) == (4, 4, (4 * 6, 2 * 8))
    assert output.ui == {
        "motion_training": [{k: last[k] for k in ("step", "steps", "losses", "each", "loss", "seconds", "left")}]
    }


def test_nothing_is_sent_where_no_graph_runs(rig) -> None:
    assert node(rig).ui["motion_training"][0]["step"] == 3


def test_a_cancelled_training_says_where_it_is_kept(rig, sent, monkeypatch, tmp_path) -> None:
    import comfy.model_management as management
    import folder_paths

    folder = ([str(tmp_path)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "motion_embeddings", folder)

    def cancel(*message: Any) -> None:
        sent.append(message)
        if message[1].get("step") == 1 and "kept" not in message[1]:
            management.interrupt_current_processing()

    sys.modules["server"].PromptServer.instance.send_sync = cancel
    with pytest.raises(management.InterruptProcessingException):
        node(rig, steps=50)
    (*_, (_, last, _)) = sent
    assert (last["kept"]["step"], last["step"], last["steps"], len(last["losses"])) == (1, 1, 50, 1)
    path = tmp_path / last["kept"]["file"]
    assert path.parent.name == "cancelled"
    assert rig.part("motion_embedding.files").load(path).training["done"] == 1


@pytest.mark.parametrize(
    ("fps", "video_frames", "rate"), [(0, 6, 8), (0, 21, 16 * 6 / 21), (12, 6, 12), (60, 6, 24), (1, 6, 2)]
)
def test_the_pictures_move_at_the_pace_of_the_clip(rig, sent, fps, video_frames, rate) -> None:
    progress = rig.part("motion_embedding.training_progress")
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    shown = progress.Shown(frames, frames, video_frames)
    events = rig.part("nodes.training_events").TrainingEvents("graph", fps)
    events.progress(progress.Progress(1, 2, [1.0], 1, 1.0, 0.5, 0.5, shown))
    events.kept(1, PurePath("cancelled") / "now.safetensors")
    first, second = (data for _, data, _ in sent)
    assert first["workflow"] == second["workflow"] == "graph"
    assert (first["strip"]["frames"], first["strip"]["rate"]) == (6, pytest.approx(rate))
    assert second["kept"] == {"step": 1, "file": "cancelled/now.safetensors"}
    assert "strip" not in events.last


@pytest.mark.parametrize(
    ("graph", "asked", "every"), [({"id": "g"}, 0, 0), ({"id": "g"}, -1, -1), (None, 0, -1), (None, 7, 7)]
)
def test_a_script_that_asks_for_no_pictures_does_not_wait_for_them(rig, monkeypatch, graph, asked, every) -> None:
    module, seen = rig.part("nodes.training"), []

    class Heard(module.Reporter):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(self.every)

    monkeypatch.setattr(module, "Reporter", Heard)
    hidden = SimpleNamespace(extra_pnginfo={"workflow": graph} if graph else None, prompt=None)
    monkeypatch.setattr(module.TrainMotionEmbedding, "hidden", hidden)
    node(rig, preview_steps=asked, steps=1)
    assert seen == [every]
