"""A saga's parts beside its state, as they are stored: each under a name of its own, so that a commit writes only what
is new, and of a large saga only what is needed is read."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from countermand.coordinator.core.draft import Parts
from countermand.coordinator.core.journal import ParentGone, SagaEnded
from countermand.coordinator.core.state import EDIT, EVENT, ITEM, MARK, RESULT, STEP, Mark, Saga, SagaState, StepState
from countermand.coordinator.ports import Commit

# A saga of so many fields is loaded whole, in one go; of a larger one only what is needed.
WHOLE_FIELDS_MAX: Final = 128

_encoder = msgspec.msgpack.Encoder()
_step_decoder = msgspec.msgpack.Decoder(StepState)
_mark_decoder: Final[msgspec.msgpack.Decoder[Mark]] = msgspec.msgpack.Decoder(Mark)


def stored_parts(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Each part by its name in the store."""
    for kind, payloads in ((RESULT, parts.results), (EDIT, parts.edits), (ITEM, parts.items), (EVENT, parts.events)):
        for ref, payload in payloads.items():
            yield kind + ref, bytes(payload)
    for ref, step in parts.steps.items():
        yield STEP + ref, _encoder.encode(step)
    for ref, mark in parts.marks.items():
        yield MARK + ref, _encoder.encode(mark)


def read_parts(
    state: SagaState, input_: bytes, fields: Mapping[bytes, bytes], looked_for: frozenset[str] | None
) -> Saga:
    """A saga of its stored parts; those of other names are left aside.

    Raises:
        msgspec.DecodeError: a part can't be read.
    """
    found: dict[str, dict[str, bytes]] = {kind: {} for kind in (RESULT, EDIT, ITEM, EVENT, STEP, MARK)}
    for name, value in fields.items():
        if name[1:2] == b":" and (kind := found.get(name[:2].decode())) is not None:
            kind[name[2:].decode()] = value
    outcome = fields.get(b"o")
    return Saga(
        state,
        msgspec.Raw(input_),
        _payloads(found[RESULT]),
        None if outcome is None else msgspec.Raw(outcome),
        _payloads(found[EDIT]),
        _payloads(found[ITEM]),
        _payloads(found[EVENT]),
        {ref: _step_decoder.decode(value) for ref, value in found[STEP].items()},
        {ref: _mark_decoder.decode(value) for ref, value in found[MARK].items()},
        looked_for,
    )


def may_be_retired(commit: Commit) -> bool:
    """Whether nobody needs the saga any more from this commit on, but people who look at it.

    Asked of the records: facts that come after the end move the saga's last change on. A child saga that has completed
    may still be undone, until the saga that started it has ended too.
    """
    state = commit.saga.state
    last = any(isinstance(record.entry, SagaEnded | ParentGone) for record in commit.records)
    return last and state.ended and (state.parent is None or state.parent.gone)


def _payloads(found: Mapping[str, bytes]) -> dict[str, msgspec.Raw]:
    return {ref: msgspec.Raw(value) for ref, value in found.items()}
