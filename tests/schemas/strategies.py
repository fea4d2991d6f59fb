"""Values that cross the wire, and bytes that shouldn't."""

import msgspec
from hypothesis import strategies as st

from countermand.schemas.identifiers import DIRECTIONS, LOOPS_MAX
from countermand.schemas.messages import (
    Accepted,
    Answer,
    CancelMessage,
    CommandMessage,
    Defined,
    DefineMessage,
    Failed,
    Failure,
    OperateMessage,
    Outcome,
    Phase,
    Refused,
    Rejected,
    ReplyMessage,
    ReplyOutcome,
    RequestMessage,
    SignalMessage,
    StartMessage,
    Succeeded,
    WatchMessage,
)
from countermand.schemas.operations import (
    AbandonSaga,
    CompensateSaga,
    ExtendDeadline,
    Operation,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SettleCompensation,
    SkipStep,
)

texts = st.text(st.characters(codec="utf-8"), max_size=40)
filled = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
names = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
slugs = st.from_regex(r"[a-z][a-z0-9_\-]{0,63}", fullmatch=True)
saga_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}", fullmatch=True)
whole = st.integers(0, 10**17)
directions = st.sampled_from(DIRECTIONS)
# With the places of its items, of for-each inside for-each too.
places = st.lists(st.integers(0, 99_999).map(lambda index: f"[{index}]"), max_size=LOOPS_MAX).map("".join)
steps = st.builds(str.__add__, names, places)
phases: st.SearchStrategy[Phase] = st.sampled_from(
    ("running", "compensating", "completed", "compensated", "compensated_with_exceptions", "abandoned")
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
bodies = json_values.map(msgspec.json.encode)
raws = bodies.map(msgspec.Raw)

commands = st.builds(
    CommandMessage,
    saga_id=saga_ids,
    definition=filled,
    step=steps,
    participant=slugs,
    action=names,
    direction=directions,
    attempt=st.integers(1, 10**9),
    key=filled,
    command_id=filled,
    saga_version=whole,
    deadline_ms=whole,
    body=bodies,
    traceparent=st.none() | filled,
)

outcomes: st.SearchStrategy[ReplyOutcome] = st.one_of(
    st.builds(Succeeded, raws),
    st.builds(Rejected, texts, texts),
    st.builds(Failed, texts, texts, st.booleans(), st.none() | whole, st.booleans()),
)

replies = st.builds(
    ReplyMessage,
    saga_id=saga_ids,
    step=steps,
    direction=directions,
    attempt=st.integers(1, 10**9),
    key=filled,
    command_id=filled,
    saga_version=whole,
    participant=slugs,
    outcome=outcomes,
    replayed=st.booleans(),
    traceparent=st.none() | filled,
)

tags = st.lists(st.from_regex(r"[a-z0-9=.:]{1,20}", fullmatch=True), max_size=4).map(tuple)

operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(RetryStep, st.none() | names, st.none() | raws),
    st.builds(SkipStep, st.none() | names, st.none() | raws),
    st.builds(SettleCompensation, filled, st.none() | names),
    st.builds(ExtendDeadline, st.integers(0, 253_402_300_799_000)),
    st.builds(ExtendDeadline, st.none(), st.integers(1, 366 * 24 * 60 * 60 * 1000)),
    st.builds(ResumeSaga, st.sampled_from(("stopped", "ran"))),
    st.builds(CompensateSaga) | st.builds(PauseSaga) | st.builds(AbandonSaga),
)

operates = st.builds(
    OperateMessage, filled, saga_ids, operations, filled, filled, st.none() | whole, st.none() | filled
)

requests: st.SearchStrategy[RequestMessage] = st.one_of(
    operates,
    st.builds(
        StartMessage,
        request_id=filled,
        saga_id=saga_ids,
        definition=slugs,
        input=raws,
        version=st.none() | st.integers(1, 10**9),
        tags=tags,
        reply_to=st.none() | filled,
        traceparent=st.none() | filled,
    ),
    st.builds(SignalMessage, filled, saga_ids, names, raws, st.none() | filled),
    st.builds(CancelMessage, filled, saga_ids, texts, st.none() | filled),
    st.builds(WatchMessage, filled, saga_ids, filled),
    st.builds(DefineMessage, filled, bodies, st.none() | filled),
)

answers: st.SearchStrategy[Answer] = st.one_of(
    st.builds(Accepted, filled, saga_ids, phases, st.booleans(), st.none() | whole),
    st.builds(Refused, filled, texts, texts, st.none() | saga_ids, st.lists(texts, max_size=3).map(tuple)),
    st.builds(Defined, filled, slugs, st.integers(1, 10**9), filled),
    st.builds(Outcome, saga_ids, phases, raws, st.none() | st.builds(Failure, texts, texts, st.none() | names)),
)

header_names = st.sampled_from(
    [
        "ce-type",
        "ce-id",
        "ce-sagaprotocol",
        "ce-sagaid",
        "ce-sagadef",
        "ce-sagadefversion",
        "ce-sagastep",
        "ce-sagaparticipant",
        "ce-sagaaction",
        "ce-sagadirection",
        "ce-sagaattempt",
        "ce-sagakey",
        "ce-sagacommandid",
        "ce-sagaversion",
        "ce-sagadeadline",
        "ce-sagasignal",
        "ce-sagaexpectedversion",
        "ce-sagatags",
        "ce-sagareplayed",
        "traceparent",
    ]
)
# What an AMQP table can hold.
header_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=20)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
headers = st.dictionaries(header_names | texts, header_values, max_size=12)
