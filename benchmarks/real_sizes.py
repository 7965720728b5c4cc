"""Models at their real sizes with random weights, for what depends on size alone. ComfyUI must be importable.

Weights are random and small enough for half precision; what comes out means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .in_process import Host
from .sampling_overhead import Case

SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "context_dim": 768,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
    "use_temporal_attention": False,
    "legacy": False,
    "adm_in_channels": None,
}
WAN = {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "in_dim": 16, "out_dim": 16, "text_dim": 4096}


def real(host: Host) -> Iterator[Case]:
    """ZeroScope 576x320, 24 frames; SD1.5 with AnimateDiff v3 512x512, 16 frames; Wan 2.1 1.3B 832x480, 49 frames."""
    yield Case("ZeroScope, 576x320x24", zeroscope(host), (1, 4, 24, 40, 72), text(77, 1024))
    yield Case("SD1.5 + AnimateDiff v3, 512x512x16", animatediff(host), (16, 4, 64, 64), text(77, 768))
    yield Case("Wan 1.3B, 832x480x49", wan(), (1, 16, 13, 60, 104), text(512, 4096))


def text(tokens: int, width: int) -> tuple[list, list]:
    generator = torch.Generator().manual_seed(2)
    return tuple([[torch.randn(1, tokens, width, generator=generator), {}]] for _ in range(2))


def weights(shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Half-precision weights of those shapes; vectors are ones or zeros, as norms and biases begin."""
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, tensor in shapes.items():
        if tensor.ndim < 2:
            made[name] = torch.full(tensor.shape, float(name.endswith("weight")), dtype=torch.float16)
        else:
            scale = 0.5 / tensor[0].numel() ** 0.5
            made[name] = (torch.randn(tensor.shape, generator=generator) * scale).half()
    return made


def patcher(model: Any) -> Any:
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher

    rest = model_management.unet_offload_device()
    return ModelPatcher(model.to(rest), model_management.get_torch_device(), rest)


def zeroscope(host: Host) -> Any:
    part = host.part("text_to_video_model")
    with torch.device("meta"):
        network = host.part("text_to_video_unet").TextToVideoUNet(cross_attention_dim=1024)
    network.load_state_dict(weights(network.state_dict()), assign=True)
    host.part("text_to_video_layers").adopt_layers(network, False)
    network.compute_dtype = torch.float16
    config = part.TextToVideoConfig(part.TextToVideoLatentFormat({}), torch.float16, None)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return patcher(part.TextToVideoModel(network.eval(), config, schedule))


def animatediff(host: Host) -> Any:
    import comfy.model_base
    import comfy.supported_models
    from safetensors.torch import save_file

    from demo.host import ROOT

    config = comfy.supported_models.SD15(dict(SD15))
    config.set_inference_dtype(torch.float16, None)
    model = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
    model.diffusion_model.load_state_dict(weights(model.diffusion_model.state_dict()))
    path = ROOT / ".cache" / "sampling_overhead" / "motion_v3.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        widths = [320, 640, 1280, 1280]
        with torch.device("meta"):
            motion = host.part("motion_module").MotionModel(widths, widths[::-1], 2, 3, mid=False, positions=32)
        save_file(weights(motion.state_dict()), str(path))
    return host.part("animatediff").load_animatediff(patcher(model), path)


def wan() -> Any:
    import comfy.ops
    import comfy.sd
    from comfy.ldm.wan.model import WanModel

    with torch.device("meta"):
        shapes = WanModel(model_type="t2v", **WAN, operations=comfy.ops.disable_weight_init).state_dict()
    return comfy.sd.load_diffusion_model_state_dict(weights(shapes))
