"""Motion embeddings wired into the real host, on a small random model."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def motion(rig):
    """A trained motion made strong, so that what it does can be told from rounding."""
    embedding = rig.train(steps=2).embedding
    layers = {n: layer.map(lambda t: 5 * t, lambda t: 5 * t) for n, layer in embedding.layers.items()}
    return embedding.replace(layers=layers)


@pytest.fixture(scope="module")
def apply(rig):
    return rig.part("motion_embedding.injection").apply_embedding


def test_a_zero_embedding_changes_no_bit(rig, motion, apply) -> None:
    zero = motion.replace(layers={n: v.map(torch.zeros_like, torch.zeros_like) for n, v in motion.layers.items()})
    assert torch.equal(rig.sample(apply(rig.model, zero)), rig.sample())
    assert torch.equal(rig.sample(apply(rig.model, motion, 0.0, 0.0)), rig.sample())


def test_two_branches_do_not_disturb_each_other(rig, motion, apply) -> None:
    before, plain = rig.state(), rig.sample()
    with_motion = apply(rig.model, motion)
    first = rig.sample(with_motion)
    assert torch.equal(rig.sample(), plain)
    assert torch.equal(rig.sample(with_motion), first)
    assert (first - plain).abs().max() > 1e-3
    rig.assert_unchanged(before)


def test_the_given_model_is_not_changed(rig, motion, apply) -> None:
    once = apply(rig.model, motion)
    expected = rig.sample(once)
    apply(once, motion, 3.0, 3.0)
    assert torch.equal(rig.sample(once), expected)


@pytest.mark.parametrize("cancelled", [False, True], ids=["error", "cancel"])
def test_stopping_inside_the_model_leaves_it_clean(rig, motion, apply, monkeypatch, cancelled) -> None:
    """Fails in the last temporal attention of the second step, where every projection is swapped."""
    import comfy.model_management as management

    error = management.InterruptProcessingException if cancelled else RuntimeError
    before, module, calls = rig.state(), rig.model.model, []
    last = rig.part("motion_embedding.injection").wired_family(module)[1][-1]
    class_of = type(last.value)
    forward = class_of.forward

    def fail_in_the_second_step(self, *args, **kwargs):
        if self is last.value:
            calls.append("forward" in self.__dict__)
            if len(calls) == 2:
                raise error("stop")
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(class_of, "forward", fail_in_the_second_step)
    with pytest.raises(error):
        rig.sample(apply(rig.model, motion))
    monkeypatch.undo()
    assert calls == [True, True], "the projection was swapped when it failed"
    rig.assert_unchanged(before)


def test_stacked_motions_add_up(rig, motion, apply) -> None:
    whole = rig.sample(apply(rig.model, motion, 1.0, 1.0))
    stacked = rig.sample(apply(apply(rig.model, motion, 0.25, 1.0), motion, 0.75, 0.0))
    assert torch.allclose(stacked, whole, atol=1e-4)


def test_percent_range_bounds_where_it_acts(rig, motion, apply) -> None:
    """With two steps, the first is before 50 % and the second after it."""
    whole, none = rig.sample(apply(rig.model, motion)), rig.sample()
    early = rig.sample(apply(rig.model, motion, end_percent=0.4))
    late = rig.sample(apply(rig.model, motion, start_percent=0.4))
    both = rig.sample(apply(apply(rig.model, motion, end_percent=0.4), motion, start_percent=0.4))
    debias = rig.part("motion_embedding.debias").Debias(until=0.4)
    assert torch.equal(rig.sample(apply(rig.model, motion.replace(debias=debias))), early)
    assert torch.allclose(both, whole, atol=1e-5)
    for part in (early, late):
        assert (part - whole).abs().max() > 1e-4
        assert (part - none).abs().max() > 1e-4


def test_positive_only_differs_only_where_there_is_guidance(rig, motion, apply) -> None:
    both, one = apply(rig.model, motion), apply(rig.model, motion, positive_only=True)
    assert torch.equal(rig.sample(both, cfg=1.0), rig.sample(one, cfg=1.0))
    assert (rig.sample(both) - rig.sample(one)).abs().max() > 1e-4


def test_batches_get_the_motion_each(rig, motion, apply) -> None:
    """Two clips of a batch from the same noise are the same clip, and equal to a batch of one."""
    import nodes

    model, noise = apply(rig.model, motion), rig.latents()

    def denoise(batch: int) -> torch.Tensor:
        with torch.inference_mode():
            latent = {"samples": noise.expand(batch, -1, -1, -1, -1).clone()}
            args = (rig.prompt("a red star"), rig.prompt(""), latent)
            return nodes.common_ksampler(
                model, 0, 2, 2.0, "euler", "sgm_uniform", *args, disable_noise=True, start_step=0
            )[0]["samples"]

    single, double = denoise(1), denoise(2)
    assert torch.allclose(double[0], single[0], atol=1e-5)
    assert torch.allclose(double[1], single[0], atol=1e-5)


def test_another_frame_count_is_resampled_and_said(rig, motion, apply, caplog) -> None:
    with caplog.at_level(logging.INFO):
        out = rig.sample(apply(rig.model, motion), frames=7)
    assert out.shape[2] == 7
    said = [r.message for r in caplog.records if "resampled" in r.message]
    assert len(said) == 1
    assert "learnt on 4 frames" in said[0] and "to the 7 frames" in said[0]


def test_prepared_tensors_are_kept_while_sampling_and_freed_after(rig, motion, apply) -> None:
    model, sizes = apply(rig.model, motion), []
    stack = model.model_options["transformer_options"]["motion_embedding"]
    model.set_model_sampler_post_cfg_function(
        lambda args: sizes.append(len(stack.prepared.additions)) or args["denoised"]
    )
    rig.sample(model)
    assert sizes[0] > 0
    assert sizes[0] == sizes[-1]
    assert stack.prepared.additions == {}


def test_a_lora_on_the_same_layer_gives_what_baked_in_weights_give(rig, motion, apply) -> None:
    module = rig.model.model
    key = next(k for k in module.state_dict() if "temp_attentions" in k and k.endswith("attn1.to_v.weight"))
    weight = module.state_dict()[key]
    difference = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * 0.1
    lora = rig.model.clone()
    lora.add_patches({key: ("diff", (difference,))})
    patched = rig.sample(apply(lora, motion))
    plain = rig.sample(apply(rig.model, motion))
    with torch.inference_mode():
        weight.add_(difference)
        baked = rig.sample(apply(rig.model, motion))
        weight.sub_(difference)
    assert torch.allclose(patched, baked, atol=1e-5)
    assert (patched - plain).abs().max() > 1e-3


def test_a_layer_that_is_never_reached_is_warned_of(rig, motion, apply, caplog) -> None:
    model = apply(rig.model, motion)
    stack = model.model_options["transformer_options"]["motion_embedding"]
    source = stack.entries[0].source
    object.__setattr__(
        source, "embedding", motion.replace(layers={**motion.layers, "ghost": next(iter(motion.layers.values()))})
    )
    with caplog.at_level(logging.WARNING):
        rig.sample(model)
    assert any("never came by" in r.message and "ghost" in r.message for r in caplog.records)


class TestRefusals:
    def test_another_family(self, rig, motion, apply) -> None:
        error = rig.part("motion_embedding.errors").InputError
        with pytest.raises(
            error, match=r"another kind of model \(Wan\) than the connected one \(ModelScope, ZeroScope\)"
        ):
            apply(rig.model, motion.replace(backbone="wan"))

    def test_missing_layer(self, rig, motion, apply) -> None:
        error = rig.part("motion_embedding.errors").InputError
        layers = {f"more.{n}": v for n, v in motion.layers.items()}
        with pytest.raises(error, match=r"no layer 'more\..*are missing"):
            apply(rig.model, motion.replace(layers=layers))

    def test_another_width(self, rig, motion, apply) -> None:
        error = rig.part("motion_embedding.errors").InputError
        layers = {n: v.map(lambda t: t[..., :4], lambda t: t[..., :4]) for n, v in motion.layers.items()}
        with pytest.raises(error, match="is 4 wide"):
            apply(rig.model, motion.replace(layers=layers))

    def test_empty_range(self, rig, motion, apply) -> None:
        error = rig.part("motion_embedding.errors").InputError
        with pytest.raises(error, match=r"start_percent: 0\.5 is not before"):
            apply(rig.model, motion, start_percent=0.5, end_percent=0.5)

    def test_empty_range_before_the_run(self, rig) -> None:
        node = rig.part("nodes.embedding").ApplyMotionEmbedding
        assert node.validate_inputs(0.5, 0.5).startswith("start_percent: 0.5 is not before the end")
        assert node.validate_inputs(0.0, 1.0) is True
        assert node.validate_inputs(None, 0.0) is True, "wired: only known when the graph runs"

    def test_an_empty_range_by_the_motions_own_limit(self, rig, motion, apply) -> None:
        error = rig.part("motion_embedding.errors").InputError
        brief = motion.replace(debias=rig.part("motion_embedding.debias").Debias(until=0.5))
        with pytest.raises(error, match=r"start_percent: 0\.6 is not before 0\.5, where the motion.*until"):
            apply(rig.model, brief, start_percent=0.6)


class TestFiles:
    def test_save_then_load_gives_the_same_samples(self, rig, motion, apply) -> None:
        nodes = rig.part("nodes.embedding")
        path = Path(nodes.SaveMotionEmbedding.execute(motion, "deep/roundabout", "full").result[0])
        assert path.parts[-2:] == ("deep", "roundabout.safetensors")
        again = Path(nodes.SaveMotionEmbedding.execute(motion, "deep/roundabout", "full").result[0])
        assert again.name == "roundabout_2.safetensors"
        loaded = nodes.LoadMotionEmbedding.execute("deep/roundabout.safetensors").result[0]
        assert torch.equal(rig.sample(apply(rig.model, loaded)), rig.sample(apply(rig.model, motion)))

    def test_a_compact_file_says_how_far_off_it_is_and_loads_as_any_other(self, rig, motion) -> None:
        nodes = rig.part("nodes.embedding")
        full = nodes.SaveMotionEmbedding.execute(motion, "whole", "half")
        compact = nodes.SaveMotionEmbedding.execute(motion, "small", "half", size="compact")
        sizes = [Path(saved.result[0]).stat().st_size for saved in (full, compact)]
        assert sizes[1] < sizes[0] / 2
        loaded = nodes.LoadMotionEmbedding.execute("small.safetensors").result[0]
        assert 0.05 < loaded.values_error < 0.52
        assert f"values {loaded.values_error:.0%} off what was learnt" in str(compact.ui.as_dict())
        assert "compact" not in str(full.ui.as_dict())

    @pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "folder/", "../../x.safetensors"])
    def test_names_outside_the_folder_are_refused_before_the_run(self, rig, name) -> None:
        answer = rig.part("nodes.embedding").SaveMotionEmbedding.validate_inputs(name)
        assert isinstance(answer, str) and answer.startswith("filename:")

    @pytest.mark.parametrize("name", ["a\0b", "x" * 300, "tab\tbed", "take 1: pan", "why?"])
    def test_names_no_file_system_takes_are_refused_before_the_run(self, rig, name) -> None:
        answer = rig.part("nodes.embedding").SaveMotionEmbedding.validate_inputs(name)
        assert isinstance(answer, str) and answer.startswith("filename:")

    def test_wired_names_are_left_to_the_run(self, rig) -> None:
        nodes, video, model = (rig.part(f"nodes.{n}") for n in ("embedding", "video", "model"))
        assert nodes.SaveMotionEmbedding.validate_inputs(None) is True
        assert nodes.LoadMotionEmbedding.validate_inputs(None) is True
        assert nodes.LoadMotionEmbedding.fingerprint_inputs(None) == ""
        assert video.LoadVideoFrames.validate_inputs(None) is True
        assert model.LoadTextToVideoModel.validate_inputs(None) is True

    def test_wired_frames_are_the_picture_in_the_file(self, rig, motion) -> None:
        nodes, files = rig.part("nodes.embedding"), rig.part("motion_embedding.files")
        red = torch.tensor([1.0, 0.0, 0.0]).expand(20, 48, 96, 3)
        path = nodes.SaveMotionEmbedding.execute(motion, "red", "half", frames=red).result[0]
        picture = files.load(path).thumbnail.frames()
        assert picture.shape == (8, 48, 96, 3)
        assert picture.mean((0, 1, 2)).tolist() == pytest.approx([255, 0, 0], abs=4)
        path = nodes.SaveMotionEmbedding.execute(motion, "as_it_was", "half").result[0]
        assert files.load(path).thumbnail == motion.thumbnail

    def test_a_camera_motion_is_saved_without_values(self, rig, motion) -> None:
        nodes = rig.part("nodes.embedding")
        camera = nodes.DebiasMotion.execute(motion, "camera", "plain").result[0]
        path = Path(nodes.SaveMotionEmbedding.execute(camera, "camera", "half").result[0])
        loaded = nodes.LoadMotionEmbedding.execute("camera.safetensors").result[0]
        assert all(not layer.value for layer in loaded.layers.values())
        assert path.stat().st_size < 20_000 + 2 * sum(v.query_key.numel() for v in motion.layers.values())

    def test_unwritable_folder_is_refused_before_the_run(self, rig, monkeypatch, tmp_path) -> None:
        common = rig.part("nodes.common")
        monkeypatch.setattr(common, "target_path", lambda name: tmp_path / "file" / name)
        (tmp_path / "file").write_text("")
        save = rig.part("nodes.embedding")
        monkeypatch.setattr(save, "target_path", common.target_path)
        assert "cannot be written to" in save.SaveMotionEmbedding.validate_inputs("motion")

    def test_load_refuses_what_is_no_motion_before_the_run(self, rig) -> None:
        answer = rig.part("nodes.embedding").LoadMotionEmbedding.validate_inputs("gone.safetensors")
        assert "does not exist" in answer

    def test_the_folder_lists_motions_only(self, rig) -> None:
        import folder_paths

        rig.part("nodes.embedding")
        folder = Path(folder_paths.get_folder_paths("motion_embeddings")[0])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.txt").write_text("no motion")
        assert "notes.txt" not in folder_paths.get_filename_list("motion_embeddings")

    def test_a_folder_removed_by_a_person_leaves_the_list_working(self, rig) -> None:
        import folder_paths

        load = rig.part("nodes.embedding").LoadMotionEmbedding
        folder = Path(folder_paths.get_folder_paths("motion_embeddings")[0])
        (folder / "dances").mkdir(parents=True)
        (folder / "dances" / "waltz.safetensors").write_text("no motion")
        assert "dances/waltz.safetensors" in load.define_schema().inputs[0].options
        shutil.rmtree(folder / "dances")
        assert "dances/waltz.safetensors" not in load.define_schema().inputs[0].options


def test_debias_node_returns_a_new_motion(rig, motion) -> None:
    out = rig.part("nodes.embedding").DebiasMotion.execute(motion, "difference", "without_mean", "pace").result[0]
    assert out.debias == rig.part("motion_embedding.debias").Debias("difference", "without_mean", "pace")
    assert motion.debias.value == "plain"


def test_graphs_of_the_first_release_still_debias_as_they_did(rig) -> None:
    """Prompts saved then know neither of the inputs that came after."""
    inputs = rig.part("nodes.embedding").DebiasMotion.INPUT_TYPES()
    assert set(inputs["required"]) == {"motion", "value", "query_key"}
    out = rig.part("nodes.embedding").DebiasMotion.execute(rig.train(steps=1).embedding, "difference", "plain")
    assert out.result[0].debias == rig.part("motion_embedding.debias").Debias("difference")
