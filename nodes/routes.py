"""What the editor asks the server: here a clip's facts, what would be decoded from it, and its film strip."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web

from ..motion_embedding.errors import InputError
from ..motion_embedding.video import VideoRequest
from ..motion_embedding.video_plan import VideoFacts, plan, read_facts
from ..motion_embedding.video_strip import film_strip
from . import examples, motion_routes

PREFIX = "/motion_embeddings"
_MOST_PICTURES, _HIGHEST = 64, 256
_KINDS = {"start": float, "fps": float, "resize": str}

File = tuple[str, int, int]
"""Path, time of change (ns) and size of a file: what a cached answer belongs to."""


def register_routes() -> None:
    """Offer the routes on the host's server, where one runs. Called once, when the pack is loaded."""
    # Looked up, not imported: where no server runs, importing the host's would load all of it.
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is not None:
        server.routes.get(f"{PREFIX}/video")(get_video)
        server.routes.get(f"{PREFIX}/film_strip")(get_film_strip)
        server.routes.get(f"{PREFIX}/example")(get_example)
        server.routes.get(f"{PREFIX}/motions")(motion_routes.get_motions)
        server.routes.get(f"{PREFIX}/motion")(motion_routes.get_motion)
        server.routes.get(f"{PREFIX}/motion_thumbnail")(motion_routes.get_thumbnail)
        server.routes.post(f"{PREFIX}/model_families")(motion_routes.post_families)
        server.routes.post(f"{PREFIX}/motions")(motion_routes.post_motion)


async def get_video(request: web.Request) -> web.Response:
    """``?file=&start=&frames=...`` (the node's widgets) -> ``{clip, plan, error}``.

    What a person can mend is no failure of the request: it comes as ``error: {input, message}`` with status 200.
    """
    return web.json_response(await asyncio.to_thread(describe, request.query))


async def get_film_strip(request: web.Request) -> web.Response:
    """``?file=&count=&height=`` -> JPEG; status 400 and ``{error}`` where there is none."""
    try:
        count, height = (int(request.query.get(name, "")) for name in ("count", "height"))
        if not (1 <= count <= _MOST_PICTURES and 1 <= height <= _HIGHEST):
            raise ValueError
        file = find_file(request.query.get("file", ""))
        picture = await asyncio.to_thread(_film_strip, file, count, height)
    except InputError as error:
        return web.json_response({"error": _words(error)}, status=400)
    except ValueError:
        message = f"count must be 1 to {_MOST_PICTURES}, height 1 to {_HIGHEST}."
        return web.json_response({"error": {"input": "count", "message": message}}, status=400)
    return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-cache"})


async def get_example(request: web.Request) -> web.StreamResponse:
    """``?file=`` -> a clip that comes with the pack; status 404 for any other name."""
    path = examples.clips().get(request.query.get("file", ""))
    return web.FileResponse(path) if path else web.Response(status=404)


def describe(values: Mapping[str, str]) -> dict[str, Any]:
    """The answer of ``/video``: facts of the clip and the plan, each None where ``error`` says why.

    The clip's ``changed`` is when its file was, in milliseconds since 1970; ``example``: it comes with the pack.
    """
    answer: dict[str, Any] = {"clip": None, "plan": None, "error": None}
    try:
        file = find_file(values.get("file", ""))
        facts = _facts(file)
        is_example = Path(file[0]) in examples.clips().values()
        answer["clip"] = asdict(facts) | {"changed": file[1] // 1_000_000, "example": is_example}
        answer["plan"] = asdict(plan(facts, _request(values)))
    except InputError as error:
        answer["error"] = _words(error)
    return answer


def find_file(name: str) -> File:
    """The file that a ``file`` widget names, in one of the host's folders or ours; :class:`InputError` if none is."""
    if not name or name == "none":
        raise InputError("file", "no video is chosen.", "Upload one, or wire one into video.")
    plain, folder = folder_paths.annotated_filepath(name.replace("\0", ""))
    relative = Path(plain)
    # Checked by its words: links inside the folder are the person's own, and the host follows them too.
    inside = not relative.anchor and ".." not in relative.parts
    path = Path(folder or folder_paths.get_input_directory()) / relative
    if inside:  # no other path is looked at, not even for whether it is there
        path = examples.or_ours(path, name)
    if not inside or not path.is_file():
        raise InputError("file", f"{name!r} is not in the input folder.", "Upload it again, or choose another.")
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size


def _request(values: Mapping[str, str]) -> VideoRequest:
    settings = {}
    for field in fields(VideoRequest):
        if field.name not in values:
            continue
        try:
            settings[field.name] = _KINDS.get(field.name, int)(values[field.name])
        except ValueError as error:
            raise InputError(field.name, f"{values[field.name]!r} is not a number.", "Give a number.") from error
    return VideoRequest(**settings)


def _words(error: InputError) -> dict[str, str]:
    return {"input": error.name, "message": str(error)}


@lru_cache(maxsize=64)
def _facts(file: File) -> VideoFacts:
    return read_facts(file[0])


@lru_cache(maxsize=32)
def _film_strip(file: File, count: int, height: int) -> bytes:
    return film_strip(file[0], _facts(file), count, height)
