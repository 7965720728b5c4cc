"""Values learnt as factors, in the real host."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.host


@pytest.mark.parametrize("loss", ["base", "debiased_hybrid"])
def test_what_is_learnt_has_the_rank_and_the_model_stays_as_it_was(rig, loss) -> None:
    before = rig.state()
    trained = rig.train(steps=4, loss=loss, value_form="low rank 4")
    assert all(np.isfinite(trained.losses))
    for layer in trained.embedding.layers.values():
        for values in layer.value.values():
            strengths = torch.linalg.svdvals(values.flatten(0, 2))
            assert strengths[0] > 0
            assert (strengths[4:] < 1e-5 * strengths[0]).all()
    rig.assert_unchanged(before)


def test_the_first_loss_is_that_of_the_untouched_model(rig) -> None:
    free, factors = (rig.train(steps=1, value_form=form).losses[0] for form in ("full", "low rank 4"))
    assert factors == free


def test_learning_goes_on_from_a_compact_file(rig, tmp_path) -> None:
    files, trained = rig.part("motion_embedding.files"), rig.train(steps=3, value_form="low rank 4")
    files.save(trained.embedding, tmp_path / "m.safetensors", error=0.05)
    loaded = files.load(tmp_path / "m.safetensors")
    more = rig.train(steps=1, initial=loaded, value_form="low rank 8", learning_rate=1e-6)
    for name, layer in more.embedding.layers.items():
        for attention, values in layer.value.items():
            known = trained.embedding.layers[name].value[attention]
            assert (values - known).norm() < 0.06 * known.norm()
