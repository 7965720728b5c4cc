from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import ref

import pytest
import torch
from torch import nn

from motion_embedding.applied import Applied
from motion_embedding.debias import Debias
from motion_embedding.install import Installation, Prepared
from motion_embedding.trainable import TrainableMotion


def overridden(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if "forward" in module.__dict__]


@contextmanager
def watched(attentions, see: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Tells ``see`` what every projection of the attentions is multiplied with: its name and its input."""
    undo = []
    for a in attentions:
        for name, linear in (("query", a.query), ("key", a.key), ("value", a.value)):

            def spy(x, linear=linear, key=f"{a.layer}/{a.name}/{name}"):
                see(key, x)
                return type(linear).forward(linear, x)

            linear.forward = spy
            undo.append(linear)
    try:
        yield
    finally:
        for linear in undo:
            del linear.__dict__["forward"]


def inputs_of(small, source) -> dict[str, torch.Tensor]:
    """What every projection of every temporal attention is multiplied with while ``source`` is installed."""
    seen: dict[str, torch.Tensor] = {}
    watching = watched(small.attentions, lambda key, x: seen.update({key: x.clone()}))
    with watching, Installation(small.unet, [source] if source else [], small.call):
        small()
    return seen


def test_first_attention_sees_the_equations_of_the_paper(small) -> None:
    """``Wq, Wk`` see ``n + m_qk[f]`` and ``Wv`` sees ``n + m_v[y, x, f]`` without ``m_qk``, position by position."""
    embedding = small.embedding()
    first = small.backbone.select(small.attentions, "recommended")[0]
    layer = embedding.layers[first.layer]
    before, after = inputs_of(small, None), inputs_of(small, Applied(embedding, 0.5, 2.0))
    key = f"{first.layer}/{first.name}/"
    batch, height, width = 2, 8, 6
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                row = b * height * width + y * width + x
                for f in range(5):
                    for part in ("query", "key"):
                        pushed = before[key + part][row, f] + 0.5 * layer.query_key[f]
                        assert torch.allclose(after[key + part][row, f], pushed, atol=1e-6)
                    pushed = before[key + "value"][row, f] + 2.0 * layer.value["attn1"][y, x, f]
                    assert torch.allclose(after[key + "value"][row, f], pushed, atol=1e-6)


def test_query_key_is_shared_by_both_attentions_of_a_block(small) -> None:
    """With the block's residual stream held still, attn2 is pushed by the same rows as attn1."""
    embedding = small.embedding(scale=1e-4)
    before, after = inputs_of(small, None), inputs_of(small, Applied(embedding))
    first = small.backbone.select(small.attentions, "recommended")[0].layer
    rows = embedding.layers[first].query_key
    for name in ("attn1", "attn2"):
        moved = (after[f"{first}/{name}/query"] - before[f"{first}/{name}/query"]).mean(0)
        assert torch.nn.functional.cosine_similarity(moved.flatten(), rows.flatten(), dim=0) > 0.95


def test_zero_embedding_changes_no_bit(small) -> None:
    expected = small()
    with Installation(small.unet, [Applied(small.embedding(scale=0.0))], small.call):
        assert torch.equal(small(), expected)


def test_nothing_is_left_behind_also_after_an_error(small) -> None:
    expected = small()
    with (
        pytest.raises(RuntimeError, match="half-way"),
        Installation(small.unet, [Applied(small.embedding())], small.call),
    ):
        assert not torch.equal(small(), expected)
        raise RuntimeError("half-way")
    assert overridden(small.unet) == []
    assert torch.equal(small(), expected)


def test_an_override_by_another_pack_is_called_and_kept(small) -> None:
    linear, calls = small.attentions[2].value, []

    def theirs(x):
        calls.append(x)
        return type(linear).forward(linear, x) * 2

    linear.forward = theirs
    expected = small()
    with Installation(small.unet, [Applied(small.embedding(scale=0.0))], small.call):
        assert torch.equal(small(), expected)
    assert len(calls) == 2
    assert linear.__dict__["forward"] is theirs


def test_positive_only_leaves_the_negative_half_alone(small) -> None:
    plain = small()
    with Installation(small.unet, [Applied(small.embedding())], small.call):
        both = small()
    with Installation(small.unet, [Applied(small.embedding(), positive_only=True)], small.call):
        one = small()
    assert torch.allclose(one[0], both[0], atol=1e-6)
    assert torch.allclose(one[1], plain[1], atol=1e-6)
    assert not torch.allclose(both[1], plain[1], atol=1e-3)


def test_two_sources_add_up(small) -> None:
    embedding = small.embedding()
    with Installation(small.unet, [Applied(embedding, 1.0, 0.5)], small.call):
        whole = small()
    halves = [Applied(embedding, 0.25, 0.5), Applied(embedding, 0.75, 0.0)]
    with Installation(small.unet, halves, small.call):
        assert torch.allclose(small(), whole, atol=1e-5)


def test_a_second_installation_on_top_is_refused_and_harms_nothing(small) -> None:
    source = Applied(small.embedding())
    with Installation(small.unet, [source], small.call):
        expected = small()
        with pytest.raises(RuntimeError, match="already installed"), Installation(small.unet, [source], small.call):
            pass
        assert torch.equal(small(), expected)
    assert overridden(small.unet) == []


def test_prepared_once_and_reused(small) -> None:
    prepared = Prepared()
    source = Applied(small.embedding(), positive_only=True)
    with Installation(small.unet, [source], small.call, prepared):
        first = small()
    kept = dict(prepared.additions)
    assert len(kept) == 2 * len(small.attentions)
    with Installation(small.unet, [source], small.call, prepared):
        assert torch.equal(small(), first)
    assert all(prepared.additions[k] is v for k, v in kept.items())
    with Installation(small.unet, [source], small.call):
        assert torch.equal(small(), first)


@pytest.mark.parametrize("learns", [False, True])
def test_no_sum_outlives_the_projections_it_is_for(small, learns: bool) -> None:
    """Kept until the end of the call they would be as much memory as the inputs of all temporal attentions."""
    chosen, given, alive = small.backbone.select(small.attentions, "recommended"), [], []
    source = TrainableMotion(chosen) if learns else Applied(small.embedding())
    if learns:
        with torch.no_grad(), Installation(small.unet, [source], small.call):
            small()
        source.allocate(torch.device("cpu"), small.embedding())

    def see(_: str, x: torch.Tensor) -> None:
        alive.append(len({id(one()) for one in given if one() is not None}))
        given.append(ref(x))

    with watched(chosen, see), torch.no_grad(), Installation(small.unet, [source], small.call):
        small()
        assert not any(one() is not None for one in given)
    # Before a key there is the query's, which is the same; before the next query nothing, nor before a value.
    assert alive == [0, 1, 0] * len(chosen)


@pytest.mark.parametrize("size", [(8, 6), (13, 7), (5, 9)])
def test_any_size_is_reached_and_resampled(small, size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, 7, *size)
    source = Applied(small.embedding().replace(debias=Debias("difference")))
    plain = small(x)
    with Installation(small.unet, [source], small.backbone.call(x, (0, 1))):
        moved = small(x)
    assert moved.shape == x.shape
    assert (moved - plain).abs().max() > 1e-3


def test_every_layer_gets_a_gradient_of_its_own(small) -> None:
    """Also checked against finite differences, one entry per tensor: a mix-up of layers would show."""
    trainable = TrainableMotion(small.attentions)
    with torch.no_grad(), Installation(small.unet, [trainable], small.call):
        small()
    parameters = trainable.allocate(torch.device("cpu"))
    generator = torch.Generator().manual_seed(5)
    for p in parameters:
        p.data = torch.randn(p.shape, generator=generator) * 0.3
    small.unet.double()
    small.x, small.text = small.x.double(), small.text.double()
    for p in parameters:
        p.data = p.data.double()

    def loss() -> torch.Tensor:
        with Installation(small.unet, [trainable], small.call):
            return small().square().sum()

    loss().backward()
    assert len(parameters) == len({a.layer for a in small.attentions}) + len(small.attentions)
    for p in parameters:
        spot = p.grad.abs().flatten().argmax()
        analytic, flat = p.grad.flatten()[spot].item(), p.data.view(-1)
        assert analytic != 0
        with torch.no_grad():
            flat[spot] += 1e-4
            up = loss()
            flat[spot] -= 2e-4
            numeric = (up - loss()).item() / 2e-4
            flat[spot] += 1e-4
        assert numeric == pytest.approx(analytic, rel=1e-4)
