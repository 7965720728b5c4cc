"""The pack's texts in every language: read, written and compared.

English is written in the nodes' schemas and in ``js/english.js``; ``locales/en`` only repeats it. After a change there,
``python -m tests.locales`` writes it anew and names what is to be translated again; ``--translated`` says that this has
been done in all languages.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from demo.host import ROOT, comfyui_path

LOCALES = ROOT / "locales"
LANGUAGES = ("zh", "ja", "ko", "fr", "es", "de", "ru")
SOURCES = LOCALES / "sources.json"
ENGLISH_WORDS = ROOT / "js" / "english.js"
FILES = ("nodeDefs", "main")


def english(schemas: Iterable[Any]) -> dict[str, Any]:
    """``nodeDefs`` and ``main`` as the host serves them: what the schemas and our modules say."""
    schemas = list(schemas)
    categories = {s.category: s.category for s in schemas}
    words = json.loads(re.search(r"ENGLISH = (\{.*\});\s*$", ENGLISH_WORDS.read_text("utf-8"), re.DOTALL).group(1))
    return {
        "nodeDefs": {s.node_id: _node(s) for s in schemas},
        "main": {"nodeCategories": categories, "motionEmbeddings": words},
    }


def _node(schema: Any) -> dict[str, Any]:
    inputs = {i.id: {"name": i.display_name or i.id, "tooltip": i.tooltip} for i in schema.inputs}
    outputs = {str(at): {"name": o.display_name, "tooltip": o.tooltip} for at, o in enumerate(schema.outputs)}
    # An output without a name of its own is shown by its type, which the host translates.
    outputs = {at: texts for at, texts in outputs.items() if texts["name"]}
    node = {"display_name": schema.display_name, "description": schema.description, "inputs": inputs}
    return {**node, "outputs": outputs} if outputs else node


def flat(texts: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Every text by its path, such as ``nodeDefs.ME_LoadVideoFrames.inputs.file.tooltip``."""
    paths: dict[str, Any] = {}
    for name, value in texts.items():
        path = f"{above}.{name}" if above else name
        paths |= flat(value, path) if isinstance(value, dict) else {path: value}
    return paths


def read(language: str) -> dict[str, Any]:
    """The files of a language, as :func:`english` has them."""
    return {name: json.loads((LOCALES / language / f"{name}.json").read_text("utf-8")) for name in FILES}


def write(language: str, texts: dict[str, Any]) -> None:
    """The files of a language, from what :func:`english` or :func:`read` gave."""
    folder = LOCALES / language
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        _write(folder / f"{name}.json", texts[name])


def digests(texts: dict[str, str]) -> dict[str, str]:
    """What tells one English text from another, by path."""
    return {path: hashlib.sha256(text.encode()).hexdigest()[:8] for path, text in texts.items()}


def stale(texts: dict[str, str]) -> list[str]:
    """Paths whose English is not what it was when it was translated."""
    translated = sources()
    return [path for path, digest in digests(texts).items() if translated.get(path) != digest]


def sources() -> dict[str, str]:
    """:func:`digests` of the English that the languages were translated from."""
    return json.loads(SOURCES.read_text("utf-8"))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")


def _schemas() -> list[Any]:
    sys.path.insert(0, str(comfyui_path()))
    from comfy.cli_args import args

    args.cpu = True
    spec = importlib.util.spec_from_file_location("motion_embeddings_pack", ROOT / "__init__.py")
    sys.modules[spec.name] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return [node.define_schema() for node in importlib.import_module(f"{spec.name}.nodes").all_nodes()]


def main() -> None:
    """Write ``locales/en``; say what is to be translated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--translated", action="store_true", help="all languages now follow the English")
    options = parser.parse_args()
    texts = english(_schemas())
    write("en", texts)
    paths = flat(texts)
    if options.translated:
        _write(SOURCES, digests(paths))
    for path in stale(paths):
        sys.stdout.write(f"{path}: {paths[path]}\n")


if __name__ == "__main__":
    main()
