"""What it costs to take 24 frames out of the middle of a ten-minute 1080p file, against a plain reader.

    python -m benchmarks.video_decode [--minutes 10] [--rounds 3] [--out benchmarks/video_decode.md]

The plain reader decodes everything from the beginning to the last wanted picture, keeps the wanted ones at full size
and resizes them together. Every reading is a process of its own, the readers in turns; seconds are the median of the
rounds, after one call on a short clip that loads the libraries. "CPU" are those of all its threads: two idle cores take
half of that or a little more. Memory is the process's peak above where it stood before. "Came out" counts the pictures
that the decoder gave. Files are made once, in ``.cache/video_decode``: a few seconds are encoded and their packets
repeated. No accelerator is used. ``--out`` adds the rows to a table, in the place of the same file and reader on the
same machine; other rows stay.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from motion_embedding.atomic import replacing
from motion_embedding.video import DecodedClip, VideoRequest, decode_frames

from .cache import digest
from .devices import device_name
from .tables import Table, keep

CACHE = Path(__file__).parents[1] / ".cache" / "video_decode"
WIDTH, HEIGHT = 576, 320
GRAIN = 6
"""Levels up and down, so that what is decoded is not all copied from the picture before: 1.3 to 2.9 Mbit/s."""
OPTIONS = {"preset": "veryfast", "sc_threshold": "0"}
_KEYS = ("file, 24 frames at 576x320", "minutes", "reader", "machine")
TABLE = Table((*_KEYS, "seconds", "CPU", "peak MB", "came out"), len(_KEYS))


@dataclass(frozen=True)
class File:
    """fps: of the film. gop: frames from one key frame to the next. period: frames that are encoded, then repeated."""

    name: str
    fps: Fraction
    gop: int
    period: int
    codec: str = "libx264"

    def path(self, minutes: float) -> Path:
        """Named by all that is in it, so that a film of other pictures is made anew."""
        key = digest(self.name, str(self.fps), self.gop, self.period, self.codec, OPTIONS, picture(1, self.period))
        return CACHE / f"{self.name}-{minutes:g}min-{key}.mp4"


@dataclass(frozen=True)
class Case:
    """``offset``: frames behind a key frame at which the request starts."""

    file: File
    offset: int
    what: str
    request: dict[str, Any]

    def asked(self, minutes: float) -> VideoRequest:
        """24 frames from about the middle on; a quarter of a frame late, so that rounding decides nothing."""
        rate = self.file.fps
        middle = int(minutes * 30 * rate) // self.file.period * self.file.period + self.offset
        return VideoRequest(
            start=float((middle + Fraction(1, 4)) / rate), frames=24, width=WIDTH, height=HEIGHT, **self.request
        )


SHORT, LONG = File("gop50", Fraction(25), 50, 250), File("gop250", Fraction(25), 250, 250)
FAST = File("gop120", Fraction(60000, 1001), 120, 240)
CASES = (
    Case(SHORT, 20, "25 fps, key frame every 50", {}),
    Case(LONG, 125, "25 fps, every 250, asked half-way", {}),
    Case(LONG, 220, "25 fps, every 250, asked at its end", {}),
    Case(FAST, 60, "59.94 fps, every 120", {}),
    Case(FAST, 60, "59.94 fps, every 120, at 8 fps", {"fps": 8.0}),
    Case(SHORT, 20, "25 fps, every 50, one frame in 4 s", {"fps": 0.25}),
)


def picture(index: int, period: int) -> np.ndarray:
    """Bytes ``[1080, 1920, 3]``: a camera that pans over a textured ground and a thing that crosses it."""
    generator = np.random.default_rng(0)
    ground = sum(
        np.kron(generator.integers(0, 256 // 2**level, (1200 // step, 2400 // step)), np.ones((step, step)))[:1080, :]
        for level, step in enumerate((60, 24, 8, 4), 1)
    )
    shift = int(200 + 200 * np.sin(2 * np.pi * index / period))
    frame = np.repeat(ground[:1080, shift : shift + 1920, None], 3, 2).astype(np.uint8)
    left = int(1600 * index / period)
    frame[400:700, left : left + 300] = (220, 60 + index % 120, 40)
    grain = np.random.default_rng(index).integers(0, 2 * GRAIN, frame.shape[:2], np.uint8)[..., None]
    return np.clip(frame, GRAIN, 255 - GRAIN) + grain - GRAIN


def make(file: File, minutes: float) -> Path:
    """The file, encoded unless it lies there already."""
    path = file.path(minutes)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {path.name}", file=sys.stderr)
    piece = path.with_suffix(".piece.mp4")
    with av.open(str(piece), "w") as container:
        options = {**OPTIONS, "g": str(file.gop), "keyint_min": str(file.gop)}
        stream = container.add_stream(file.codec, rate=file.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(file.period):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index, file.period), format="rgb24")))
        container.mux(stream.encode(None))
    with replacing(path) as unfinished, av.open(str(piece)) as source:
        _repeat(source, unfinished, round(minutes * 60 * file.fps / file.period), file)
    piece.unlink()
    return path


def _repeat(source: av.container.InputContainer, path: Path, times: int, file: File) -> None:
    template = source.streams.video[0]
    packets = [packet for packet in source.demux(template) if packet.size]
    stamps = [(packet.pts, packet.dts) for packet in packets]
    length = round(file.period / file.fps / template.time_base)
    with av.open(str(path), "w", format="mp4") as target:
        stream = target.add_stream_from_template(template)
        for turn in range(times):
            for packet, (shown, decoded) in zip(packets, stamps, strict=True):
                packet.stream, packet.time_base = stream, template.time_base
                packet.pts, packet.dts = shown + turn * length, decoded + turn * length
                target.mux(packet)


def plain_reader(path: Path, request: VideoRequest, on_frame: Any) -> DecodedClip:
    """Everything from the beginning, one thread; the wanted pictures kept in full, as floats, resized at the end."""
    pictures, times, tick, previous = [], [], request.start, None
    step = request.stride / request.fps if request.fps else 0.0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        behind = 0
        for frame in container.decode(stream):
            on_frame(len(times))
            time = float(frame.pts * frame.time_base)
            keep = []
            if not request.fps:
                if time >= request.start - 0.5 / float(stream.average_rate):
                    keep = [frame] if behind % request.stride == 0 else []
                    behind += 1
            else:
                while time >= tick and len(times) + len(keep) < request.frames:
                    nearer = previous is None or time - tick < tick - float(previous.pts * previous.time_base)
                    keep.append(frame if nearer else previous)
                    tick = request.start + (len(times) + len(keep)) * step
            for one in keep:
                pictures.append(torch.from_numpy(one.to_ndarray(format="rgb24")).float() / 255)
                times.append(float(one.pts * one.time_base))
            previous = frame
            if len(times) >= request.frames:
                break
    planes = torch.stack(pictures).permute(0, 3, 1, 2)
    scale = max(WIDTH / planes.shape[3], HEIGHT / planes.shape[2])
    size = (round(planes.shape[2] * scale), round(planes.shape[3] * scale))
    small = torch.nn.functional.interpolate(planes, size=size, mode="area")
    top, left = (size[0] - HEIGHT) // 2, (size[1] - WIDTH) // 2
    frames = small[:, :, top : top + HEIGHT, left : left + WIDTH].permute(0, 2, 3, 1).contiguous()
    return DecodedClip(frames, request.fps, tuple(times))


def ours(path: Path, request: VideoRequest, on_frame: Any) -> DecodedClip:
    return decode_frames(path, request, on_frame=on_frame)


READERS = {"plain": plain_reader, "ours": ours}


def _memory(field: str) -> float:
    """MB of this process: ``VmRSS`` now, ``VmHWM`` its peak since :func:`_forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def _measure(reader: str, path: str, request: VideoRequest, warm: str) -> tuple[dict[str, float], list[float], float]:
    """Seconds, those of all threads, peak MB and decoded frames of one reading; times and mean of its frames.

    Run in a process of its own.
    """
    decode_frames(warm, VideoRequest(frames=2, width=64, height=32))
    decoded = []
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    begin, spent = time.perf_counter(), time.process_time()
    clip = READERS[reader](path, request, decoded.append)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - spent
    measured = {"seconds": seconds, "cpu": cpu, "memory": _memory("VmHWM") - before, "decoded": len(decoded)}
    return measured, list(clip.times), float(clip.frames.mean())


def measure(case: Case, minutes: float, rounds: int, plain_rounds: int) -> dict[str, Any]:
    path, warm, request = make(case.file, minutes), make(SHORT, 0.2), case.asked(minutes)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
    given: dict[str, tuple[list[float], float]] = {}
    context = multiprocessing.get_context("spawn")
    for turn in range(rounds):
        for name in READERS:
            if name == "plain" and turn >= plain_rounds:
                continue
            with context.Pool(1) as pool:
                measured, *given[name] = pool.apply(_measure, (name, str(path), request, str(warm)))
            results[name].append(measured)
    if "plain" in given:
        (times, mean), (own_times, own_mean) = given["plain"], given["ours"]
        if not np.allclose(times, own_times) or abs(mean - own_mean) > 0.02:  # they round and scale differently
            raise SystemExit(f"{case.what}: the readers do not give the same frames")
    return {name: {key: statistics.median(r[key] for r in rs) for key in rs[0]} for name, rs in results.items() if rs}


def table(rows: list[tuple[str, dict[str, Any]]], minutes: float) -> Table:
    machine, cells = device_name(torch.device("cpu")), []
    for what, results in rows:
        for name, r in results.items():
            found = f"{r['seconds']:.2f}", f"{r['cpu']:.2f}", f"{r['memory']:.0f}", f"{r['decoded']:.0f}"
            cells.append((what, f"{minutes:g}", name, machine, *found))
    return TABLE.with_rows(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-rounds", type=int, default=1, help="of the plain reader, which takes a minute")
    parser.add_argument("--case", type=int, action="append", help="only this one, counted from 0; can be repeated")
    parser.add_argument("--out", type=Path, help="add the rows to the table there")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    rows = []
    for case in [CASES[n] for n in arguments.case] if arguments.case else CASES:
        rows.append((case.what, measure(case, arguments.minutes, arguments.rounds, arguments.plain_rounds)))
        print(json.dumps(rows[-1]), file=sys.stderr)
        if arguments.out:
            keep(arguments.out, table(rows, arguments.minutes))
    print(table(rows, arguments.minutes).text)


if __name__ == "__main__":
    main()
