"""Which packets of a film need not be decoded, told from their time stamps before any of them is."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av

_MOST_AHEAD = 32 * 2**20

_REORDERED = {"h264": 32, "hevc": 32, "mpeg2video": 4, "mpeg4": 4} | dict.fromkeys(
    ("vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "libaom-av1", "mjpeg", "prores"), 0
)
"""How many packets at most come before one that is shown before all of them; a field may have one of its own.
Only codecs of which nothing in front of a key frame is needed behind it are here: that of a GIF may lie on the last."""

_SAYS_WHAT_IS_REFERRED_TO = "h264"
"""HEVC says of a picture only that none of its own temporal layer refers to it."""


class Step(NamedTuple):
    """What to do with a packet.

    afresh: packets in front of it were left out; it is a key frame, and the decoder is to forget what it holds.
    needless: its picture is not wanted, only what others take from it.
    """

    packet: av.Packet
    afresh: bool
    needless: bool


class PacketPlan:
    """Reads packets ahead, to the time from which on pictures are wanted, and says of each what to do.

    Wanted is the last picture that is not after that time, and all behind it. Packets in front of the last key frame
    before it are left out; of the rest those are needless of whose pictures no other is made, where the codec says so.
    A stream without time stamps is given whole.

    codec: name of the decoder. time_of: seconds of a time stamp.
    """

    def __init__(self, packets: Iterator[av.Packet], codec: str, time_of: Callable[[int], float]) -> None:
        self._packets, self._time_of = packets, time_of
        self._plain, self._reordered = codec not in _REORDERED, _REORDERED.get(codec, 0)
        self._discards = codec == _SAYS_WHAT_IS_REFERRED_TO
        self._waiting: deque[av.Packet] = deque()
        self._wanted, self._bytes, self._behind = -math.inf, 0, 0
        self._owed = -math.inf
        self.failed = False
        """Set where reading the file failed, after the last step."""

    def due(self) -> float:
        """Time of a picture that must come out before any that is after it, since others were left out for it."""
        return self._owed

    def steps(self, wanted: Callable[[], float]) -> Iterator[Step]:
        """All packets worth decoding, in their order. ``wanted`` is asked before each; it may only rise."""
        while True:
            afresh = self._read_ahead(wanted())
            if not self._waiting:
                return
            packet = self._waiting.popleft()
            self._bytes -= packet.size
            yield Step(packet, afresh, self._needless(packet))

    def _read_ahead(self, wanted: float) -> bool:
        """Reads until the last picture before ``wanted`` is known; whether packets in front of it were left out."""
        afresh = False
        if wanted > self._wanted:
            again, self._waiting = self._waiting, deque()
            self._wanted, self._bytes, self._behind, self._owed = wanted, 0, 0, -math.inf
            for packet in again:
                afresh |= self._take(packet)
        while not self._waiting or self._unsure():
            packet = self._read()
            if packet is None:
                break
            afresh |= self._take(packet)
        return afresh

    def _unsure(self) -> bool:
        return not self._plain and self._behind <= self._reordered and self._bytes < _MOST_AHEAD

    def _read(self) -> av.Packet | None:
        try:
            return next(self._packets, None)
        except (av.FFmpegError, OSError):
            self.failed, self._packets = True, iter(())
            return None

    def _take(self, packet: av.Packet) -> bool:
        """Puts a packet behind those that wait; whether those were left out for it."""
        left_out = False
        if packet.size and packet.pts is None:
            self._plain, self._owed = True, -math.inf
        if packet.size and not self._plain:
            time = self._time_of(packet.pts)
            if time > self._wanted:
                self._behind += 1
            elif not packet.is_discard:
                left_out = packet.is_keyframe and bool(self._waiting)
                self._owed = max(self._owed, time)
            if left_out:
                self._waiting.clear()
                self._bytes = 0
        self._waiting.append(packet)
        self._bytes += packet.size
        return left_out

    def _needless(self, packet: av.Packet) -> bool:
        return self._discards and packet.pts is not None and self._time_of(packet.pts) < self._owed
