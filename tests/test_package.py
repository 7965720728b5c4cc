"""What the registry's package holds: all that nodes, templates and the editor need, and nothing to develop with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from demo.host import ROOT


def left_out(*paths: Path) -> set[str]:
    """Those of ``paths`` that ``.comfyignore`` keeps out of the package."""
    ignored = subprocess.run(
        ["git", "-c", f"core.excludesFile={ROOT / '.comfyignore'}", "check-ignore", "--no-index", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(ignored.stdout.split())


def test_what_is_needed_is_shipped() -> None:
    weights = ROOT / "demo" / "tiny_model" / "weights"
    folders = ("subgraphs", "workflows", "js", "js/docs", "locales", "nodes", "motion_embedding", "demo/clips")
    needed = [path for folder in folders for path in (ROOT / folder).glob("*") if path.is_file()]
    needed += [path for part in weights.glob("*") if part.name != "clip" for path in part.glob("*")]
    assert len(needed) > 200
    assert {Path(path).suffix for path in left_out(*needed, weights / "model_index.json")} <= {".ts"}


def test_what_is_not_needed_is_not() -> None:
    unneeded = [*(ROOT / "tests").glob("*.py"), *(ROOT / "demo").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    unneeded += (ROOT / "demo" / "tiny_wan").glob("*.py")
    assert left_out(*unneeded) == set(map(str, unneeded))
