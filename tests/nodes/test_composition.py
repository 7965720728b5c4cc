"""A motion next to everything else people wire: the same result as the parts put together by hand predict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from motion_embedding.embedding import MotionEmbedding
from tests import families, small_sd15
from tests.families import FRAMES, HEIGHT, WIDTH, Family

NAMES = ("unet3d", "animatediff", "svd", "latte")
OF_DIFFUSERS = ("unet3d", "latte")


@pytest.fixture(scope="module")
def all_families(rig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    folder = tmp_path_factory.mktemp("motion")
    made = [
        families.unet3d(rig),
        families.animatediff(rig.part, folder),
        families.svd(),
        families.latte(rig.part, folder),
    ]
    return {family.name: family for family in made}


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest, all_families: dict[str, Family]) -> Iterator[Family]:
    """Checked to be as it was after the test."""
    chosen = all_families[request.param]
    plain = chosen.sample(steps=1)
    before = chosen.state()  # with the model loaded: the host then keeps its replaced noise schedule on it
    yield chosen
    assert torch.equal(chosen.sample(steps=1), plain)
    chosen.assert_unchanged(before)


@pytest.fixture
def apply(rig) -> Any:
    """Our node."""
    node = rig.part("nodes.embedding").ApplyMotionEmbedding

    def run(model: Any, motion: MotionEmbedding, **changes: Any) -> Any:
        motion = rig.part("motion_embedding.embedding").MotionEmbedding(
            **{name: getattr(motion, name) for name in ("layers", "backbone", "frames", "height", "width")},
        )
        settings = {"strength_query_key": 1.0, "strength_value": 1.0, "start_percent": 0.0, "end_percent": 1.0}
        with torch.inference_mode():
            return node.execute(model, motion, **{**settings, "prompts": "both", **changes}).args[0]

    return run


def assert_same(ours: torch.Tensor, expected: torch.Tensor, without: torch.Tensor) -> None:
    """Equal within float error, which is small against what the motion changes."""
    change = (expected - without).abs().max()
    assert torch.isfinite(ours).all()
    assert change > 0.02 * without.abs().max()
    assert (ours - expected).abs().max() < 1e-3 * change


def check(family: Family, apply: Any, model: Any = None, motions: tuple = (), **sampling: Any) -> None:
    """``model`` with our node on it against ``model`` with the motions by hand."""
    model, motions = model or family.model, motions or (family.motion(),)
    with family.by_hand(*motions):
        expected = family.sample(model, **sampling)
    moved = model
    for motion in motions:
        moved = apply(moved, motion)
    assert_same(family.sample(moved, **sampling), expected, family.sample(model, **sampling))


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_alone(family: Family, apply: Any, cfg: float) -> None:
    check(family, apply, cfg=cfg)


def test_a_batch_of_two_clips(family: Family, apply: Any) -> None:
    """Two clips in one latent, where the family has an axis for them."""
    if family.name in OF_DIFFUSERS:
        check(family, apply, latent=torch.zeros(2, *family.shape[1:]))
    else:  # all the pictures of a batch are frames: twice as many are one clip of twice the length
        twice = torch.zeros(2 * FRAMES, *family.shape[1:])
        motion = family.motion()
        stretched = MotionEmbedding(
            {n: layer.map(stretch, stretch) for n, layer in motion.layers.items()},
            family.name,
            2 * FRAMES,
            HEIGHT,
            WIDTH,
        )
        with family.by_hand(stretched):
            expected = family.sample(latent=twice)
        assert_same(family.sample(apply(family.model, motion), latent=twice), expected, family.sample(latent=twice))


def stretch(rows: torch.Tensor) -> torch.Tensor:
    """Rows ``[..., F, C]`` to twice as many: frame i of 2F lies at (i - 0.5) / 2 of the trained ones, ends held."""
    count = rows.shape[-2]
    places = ((torch.arange(2 * count) - 0.5) / 2).clamp(0, count - 1)
    low = places.floor().long()
    share = (places - low)[:, None]
    return rows[..., low, :] * (1 - share) + rows[..., (low + 1).clamp(max=count - 1), :] * share


def test_two_motions(family: Family, apply: Any) -> None:
    check(family, apply, motions=(family.motion(0), family.motion(1)))


def test_a_lora_on_the_same_projections(family: Family, apply: Any) -> None:
    """Of the host, on the weights of every temporal query, key and value; merged by the host either way."""
    generator = torch.Generator().manual_seed(4)
    patched = family.model.clone()
    target = patched.get_additional_models()[0] if family.beside else patched
    names = {id(m): n for n, m in target.model.named_modules()}
    patches = {
        f"{names[id(p)]}.weight": ("diff", (torch.randn(p.weight.shape, generator=generator) * 0.1,))
        for a in family.attentions
        for p in (a.query, a.key, a.value)
    }
    assert len(target.add_patches(patches, 1.0)) == len(patches)
    assert not torch.allclose(family.sample(patched), family.sample())
    check(family, apply, patched)


def test_a_lora_over_low_vram(family: Family, apply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights cast and patched at every use, the result is that of a full load."""
    import comfy.model_management as management

    patched = family.model.clone()
    target = patched.get_additional_models()[0] if family.beside else patched
    names = {id(m): n for n, m in target.model.named_modules()}
    generator = torch.Generator().manual_seed(4)
    query = family.attentions[0].query
    change = torch.randn(query.weight.shape, generator=generator) * 0.1
    target.add_patches({f"{names[id(query)]}.weight": ("diff", (change,))}, 1.0)
    motion = family.motion()
    moved = apply(patched, motion)
    full = family.sample(moved)
    management.unload_all_models()
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    monkeypatch.setattr(management, "vram_state", management.VRAMState.NO_VRAM)
    seen = []
    with torch.inference_mode():
        query.register_forward_pre_hook(lambda m, x: seen.append((m.comfy_cast_weights, len(m.weight_function))))
    try:
        cast = family.sample(moved)
        plain = family.sample(patched)
    finally:
        query._forward_pre_hooks.clear()
        management.unload_all_models()
    assert seen
    assert all(casting and functions == 1 for casting, functions in seen)
    assert_same(cast, full, plain)


@pytest.mark.parametrize(
    ("family", "version"),
    [("unet3d", "FreeU"), ("animatediff", "FreeU"), ("svd", "FreeU"), ("svd", "FreeU_V2")],
    indirect=["family"],
)
def test_freeu(family: Family, apply: Any, version: str) -> None:
    """For the models of the host's own UNet class; one of diffusers has no such patches.

    The second version divides by zero on a level of one token, as this small AnimateDiff has one.
    """
    from comfy_extras import nodes_freelunch

    if family.name == "unet3d":
        with pytest.raises(KeyError):
            getattr(nodes_freelunch, version)().patch(family.model, 1.1, 1.2, 0.9, 0.2)
        return
    freed = getattr(nodes_freelunch, version)().patch(family.model, 1.1, 1.2, 0.9, 0.2)[0]
    assert not torch.allclose(family.sample(freed), family.sample())
    check(family, apply, freed)
    motion = family.motion()
    after = getattr(nodes_freelunch, version)().patch(apply(family.model, motion), 1.1, 1.2, 0.9, 0.2)[0]
    assert torch.equal(family.sample(after), family.sample(apply(freed, motion)))


def picture_attention(width: int, seed: int) -> Any:
    """What an IP-Adapter installs: a second cross-attention, to the tokens of a picture, added to the first."""
    from comfy.ldm.modules.attention import optimized_attention

    generator = torch.Generator().manual_seed(seed)
    keys, values = (torch.randn(1, 3, width, generator=generator) for _ in range(2))

    def replace(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict) -> torch.Tensor:
        heads, batch = options["n_heads"], len(q)
        text = optimized_attention(q, k, v, heads)
        picture = optimized_attention(q, keys.expand(batch, -1, -1), values.expand(batch, -1, -1), heads)
        return text + 0.7 * picture * torch.tensor([g == 0 for g in options["cond_or_uncond"]]).to(q).repeat_interleave(
            batch // len(options["cond_or_uncond"])
        ).view(-1, 1, 1)

    return replace


def test_a_picture_prompt(family: Family, apply: Any) -> None:
    """For the models of the host's own UNet class; one of diffusers has no such patches."""
    adapted = family.model.clone()
    unet = family.model.model.diffusion_model
    if family.name in OF_DIFFUSERS:
        adapted.set_model_attn2_replace(picture_attention(64, 0), "input", 1)
        assert torch.equal(family.sample(adapted), family.sample())
        return
    for number in (1, 2, 4, 5):
        block = unet.input_blocks[number][1].transformer_blocks[0]
        adapted.set_model_attn2_replace(picture_attention(block.attn2.to_q.out_features, number), "input", number)
    assert not torch.allclose(family.sample(adapted), family.sample())
    check(family, apply, adapted)


@pytest.fixture
def controlled(all_families: dict[str, Family]) -> dict[str, list]:
    """AnimateDiff's conditionings with a stock ControlNet, a hint for every frame; there are none for the others."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    import nodes

    family, config = all_families["animatediff"], small_sd15.unet_config()
    for key in ("out_channels", "transformer_depth_output", "use_temporal_attention"):
        config.pop(key)
    hints = torch.rand(FRAMES, 8 * HEIGHT, 8 * WIDTH, 3, generator=torch.Generator().manual_seed(8))
    with torch.inference_mode():  # where the host loads its models
        network = comfy.cldm.cldm.ControlNet(hint_channels=3, operations=comfy.ops.disable_weight_init, **config).eval()
        small_sd15.fill(network, 7)
        control = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))
        positive, negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
            family.positive, family.negative, control, hints, 0.5, 0.0, 1.0
        )
    return {"positive": positive, "negative": negative}


@pytest.mark.parametrize("cfg", [1.0, 2.5])
def test_a_controlnet(all_families: dict[str, Family], apply: Any, controlled: dict[str, list], cfg: float) -> None:
    family = all_families["animatediff"]
    assert not torch.allclose(family.sample(**controlled), family.sample())
    before = family.state()
    check(family, apply, cfg=cfg, **controlled)
    family.assert_unchanged(before)


def test_learning_next_to_a_controlnet(rig, all_families: dict[str, Family], controlled: dict[str, list]) -> None:
    """It tells the model where things are in every frame, and the motion learns what is left."""
    family, training = all_families["animatediff"], rig.part("motion_embedding.training")
    clip = torch.randn(family.shape, generator=torch.Generator().manual_seed(3))
    family.sample(steps=1)
    before, losses = family.state(), {}
    with torch.inference_mode():
        for name, positive in (("plain", family.positive), ("controlled", controlled["positive"])):
            trained = training.train_motion(family.model, positive, clip, rig.recipe(steps=2))
            losses[name] = trained.losses
            assert all(layer.query_key.abs().sum() > 0 for layer in trained.embedding.layers.values())
    assert losses["plain"] != losses["controlled"]
    assert all(map(math.isfinite, losses["controlled"]))
    network = controlled["positive"][0][1]["control"].control_model
    assert all(p.requires_grad for p in network.parameters())
    family.assert_unchanged(before)


def test_prompts_for_areas(family: Family, apply: Any) -> None:
    """Left two columns one prompt, the other four another: each sees its part of the motion."""

    def areas(conditioning: list) -> list:
        other = [[-conditioning[0][0], conditioning[0][1]]]
        placed = (conditioning, (HEIGHT, 2, 0, 0)), (other, (HEIGHT, WIDTH - 2, 0, 2))
        return [[c[0][0], {**c[0][1], "area": area, "strength": 1.0}] for c, area in placed]

    def crop(values: torch.Tensor, tokens: int) -> torch.Tensor:
        rows, columns = values.shape[:2]
        left = columns // 3  # two of six, in whatever patches the model takes them
        return {rows * left: values[:, :left], rows * (columns - left): values[:, left:]}.get(tokens, values)

    motion = family.motion(full_size_only=True)
    sampling = {"positive": areas(family.positive), "cfg": 1.0}
    with family.by_hand(motion, crop=crop):
        expected = family.sample(**sampling)
    assert_same(family.sample(apply(family.model, motion), **sampling), expected, family.sample(**sampling))


@pytest.mark.parametrize(
    ("family", "first"),
    [
        ("unet3d", "compiled"),
        ("unet3d", "motion"),
        ("animatediff", "compiled"),
        ("svd", "motion"),
        ("latte", "compiled"),
    ],
    indirect=["family"],
)
def test_compiled(family: Family, apply: Any, first: str) -> None:
    """The stock node, with Dynamo tracing and no code generator. A second motion compiles nothing anew."""
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> Any:
        graphs.append(graph)
        return graph.forward

    model = TorchCompileModel.execute(family.model, backend).args[0]
    without, counts = family.sample(steps=3), []
    for seed in (0, 1):
        motion = family.motion(seed)
        expected = family.sample(apply(family.model, motion), steps=3)
        both = apply(model, motion)
        if first == "motion":
            both = TorchCompileModel.execute(apply(family.model, motion), backend).args[0]
        assert_same(family.sample(both, steps=3), expected, without)
        counts.append(len(graphs))
    torch._dynamo.reset()
    assert counts[0] > 0
    if first == "compiled":
        assert counts[1] == counts[0]
