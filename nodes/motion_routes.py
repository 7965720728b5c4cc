"""What the editor asks the server about the files in ``models/motion_embeddings``, and how one gets there."""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import json
import secrets
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web

from ..motion_embedding import files
from ..motion_embedding.errors import InputError
from ..motion_embedding.motion_files import motion_file, motion_thumbnail
from .common import FOLDER, check_writable, file_names, naming, target_path, unused
from .graph_models import families_reached

ENDING = ".safetensors"
MOST_BYTES = 4 * 2**30
_BLOCK = 2**20
_LARGEST_HEADER = 16 * 2**20


async def get_motions(request: web.Request) -> web.Response:
    """-> ``{folder, files: [{name, ...}]}``: all files in the folder, see ``motion_file``, the latest first."""
    return web.json_response(await asyncio.to_thread(list_motions))


async def get_motion(request: web.Request) -> web.Response:
    """``?file=`` -> ``{name, ...}`` of one file; status 404 where there is none."""
    found = await asyncio.to_thread(_entry, request.query.get("file", ""))
    return web.json_response(found) if found else web.json_response({}, status=404)


async def get_thumbnail(request: web.Request) -> web.Response:
    """``?file=`` -> the WebP strip in it; status 404 where there is none."""
    path = find_motion(request.query.get("file", ""))
    try:
        strip = await asyncio.to_thread(motion_thumbnail, path) if path else None
    except OSError:
        strip = None
    if strip is None:
        return web.Response(status=404)
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=strip, content_type="image/webp", headers=headers)


async def post_families(request: web.Request) -> web.Response:
    """``{prompt, nodes}`` -> ``{families}``: of the models that the motions of ``nodes`` are put on, see
    ``families_reached``; status 400 where that is no graph."""
    try:
        body = await request.json()
        prompt, nodes = body["prompt"], [str(node) for node in body["nodes"]]
        families = await asyncio.to_thread(families_reached, prompt, nodes)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return web.json_response({"error": repr(error)}, status=400)
    return web.json_response({"families": families})


async def post_motion(request: web.Request) -> web.Response:
    """``?name=`` and the file as the body -> ``{name}``, what the node's list calls it.

    A file of the same name and content is not written again, one of other content gets a number. Status 400 and
    ``{error: {input, message}}`` where it is no motion; nothing is left in the folder then.
    """
    try:
        return web.json_response({"name": await _receive(request)})
    except InputError as error:
        return web.json_response({"error": {"input": error.name, "message": str(error)}}, status=400)


def find_motion(name: str) -> Path | None:
    """The file that the node's list calls ``name``; None for anything that is not in the folder."""
    # The host takes a name for a path below the folder, however many .. it has.
    try:
        path = folder_paths.get_full_path(FOLDER, name.replace("\0", "")) if name.endswith(ENDING) else None
    except ValueError:  # another drive of Windows
        return None
    return Path(path) if path else None


def list_motions() -> dict[str, Any]:
    """The answer of ``/motions``."""
    found = filter(None, map(_entry, file_names()))
    latest_first = sorted(found, key=lambda one: (-one["changed"], one["name"]))
    return {"folder": folder_paths.get_folder_paths(FOLDER)[0], "files": latest_first}


def _entry(name: str) -> dict[str, Any] | None:
    path = find_motion(name)
    try:
        return {"name": name, **motion_file(path)} if path else None
    except OSError:
        return None


async def _receive(request: web.Request) -> str:
    name = Path(request.query.get("name", "").replace("\\", "/")).name
    if not name.endswith(ENDING):
        raise InputError("file", f"{name!r} is no {ENDING} file.", "Drop one that Save Motion Embedding wrote.")
    target = target_path(name)
    check_writable(target)
    if (request.content_length or 0) > MOST_BYTES:
        raise _too_large(name)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        await _write(request, unfinished, name)
        await asyncio.to_thread(_check, unfinished, name)
        taken = await asyncio.to_thread(_place, unfinished, target)
    except OSError as error:
        cause = f"{name} could not be written ({error.strerror})."
        raise InputError("file", cause, "Make room in the folder, or unlock it.") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return taken.name


async def _write(request: web.Request, path: Path, name: str) -> None:
    """Write the body to ``path``; :class:`InputError` as soon as it is seen to be no motion, or too large."""
    header: bytes | None = b""
    written = 0
    with path.open("wb") as file:
        async for block in request.content.iter_chunked(_BLOCK):
            written += len(block)
            if written > MOST_BYTES:
                raise _too_large(name)
            if header is not None:
                header += block
                header = None if _is_motion(header, name) else header
            await asyncio.to_thread(file.write, block)


def _is_motion(start: bytes, name: str) -> bool:
    """Whether the ``start`` of a file says that it is one of ours; False until it is long enough to say."""
    if len(start) < 8:
        return False
    length = int.from_bytes(start[:8], "little")
    if length <= _LARGEST_HEADER and len(start) < 8 + length:
        return False
    try:
        header = json.loads(start[8 : 8 + length]) if length <= _LARGEST_HEADER else {}
        if files.FORMAT in header["__metadata__"]:
            return True
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError("file", f"{name} holds no motion embedding.", "Drop one that Save Motion Embedding wrote.")


def _check(unfinished: Path, name: str) -> None:
    """:class:`InputError` under the person's own name for the file, unless it is whole."""
    try:
        files.read_metadata(unfinished)
    except InputError as error:
        raise InputError("file", error.cause.replace(unfinished.name, name), error.mend) from error


def _place(unfinished: Path, target: Path) -> Path:
    """Give the file its name, or the first free one after it; the one there where both are the same."""
    if target.is_file() and filecmp.cmp(target, unfinished, shallow=False):
        return target
    with naming:
        unfinished.replace(free := unused(target))
    return free


def _too_large(name: str) -> InputError:
    return InputError("file", f"{name} is larger than 4 GB.", "Copy it into models/motion_embeddings instead.")
