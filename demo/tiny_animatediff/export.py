"""Take the averaged weights of a training run over into the repository, in half precision, with the run's logs.

python -m demo.tiny_animatediff.export [--run demo/tiny_animatediff/run]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from motion_embedding.atomic import replacing

from .config import HERE, IMAGE, MOTION, WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=HERE / "run")
    run = parser.parse_args().run
    WEIGHTS.mkdir(exist_ok=True)
    for target in (IMAGE, MOTION):
        with replacing(target) as unfinished:
            save_file({k: v.to(torch.float16) for k, v in load_file(run / target.name).items()}, unfinished)
        shutil.copyfile(run / f"{target.stem}_log.csv", WEIGHTS / f"{target.stem}_log.csv")
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
