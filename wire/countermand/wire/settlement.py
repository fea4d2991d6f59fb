"""Which frames tell the broker that deliveries are settled, in as few bytes as is provably right.

`multiple` settles everything on the channel up to a tag, whoever holds it. So it is used only for a run of
tags that starts at the oldest unsettled one, is settled as a whole, and has no gap: a gap is a delivery that
the client library dropped before we saw it, and settling that one would lose it.
"""

import struct
from collections.abc import Iterable
from typing import Literal

from pamqp.commands import Basic
from pamqp.constants import FRAME_END, FRAME_METHOD

Answer = Literal["acknowledge", "dead_letter", "release"]

_FRAME = struct.Struct(">BHIIQBB")  # Type, channel, payload size, method, delivery tag, flags, frame end.
_PAYLOAD_BYTES = 13
_MULTIPLE, _REQUEUE = 1, 2


class Unsettled:
    """The deliveries of one channel that the broker still waits to hear about, oldest first."""

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}
        self._newest = 0
        self._gapless = True

    def __len__(self) -> int:
        return len(self._tags)

    def add(self, tag: int) -> None:
        if tag != self._newest + 1:
            self._gapless = False
        self._newest = tag
        self._tags[tag] = None

    def settle(self, tags: Iterable[int]) -> None:
        """Forget them; call it when their frames are on their way."""
        for tag in tags:
            self._tags.pop(tag, None)

    def frames(self, tags: Iterable[int], answer: Answer, channel_number: int) -> bytes:
        """The frames that give one answer to all these tags."""
        asked = {tag for tag in tags if tag in self._tags}
        run: list[int] = []
        if self._gapless:
            for tag in self._tags:
                if tag not in asked:
                    break
                run.append(tag)
        if len(run) < 2:
            run = []
        singles = sorted(asked.difference(run))
        frames = [settle_frame(run[-1], answer, channel_number, multiple=True)] if run else []
        frames += [settle_frame(tag, answer, channel_number, multiple=False) for tag in singles]
        return b"".join(frames)


def settle_frame(tag: int, answer: Answer, channel_number: int, *, multiple: bool) -> bytes:
    # basic.nack and not basic.reject: only it knows `multiple`, and RabbitMQ 4.3 counts a reject as a failure.
    method = Basic.Ack.index if answer == "acknowledge" else Basic.Nack.index
    flags = (_MULTIPLE if multiple else 0) | (_REQUEUE if answer == "release" else 0)
    return _FRAME.pack(FRAME_METHOD, channel_number, _PAYLOAD_BYTES, method, tag, flags, FRAME_END)
