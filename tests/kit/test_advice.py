"""The lint in the kit: what it warns of is told in the test, beside the contracts of whoever was given."""

import warnings

import msgspec
import pytest

from countermand.coordinator.testing import SagaWarning, exhaustive, given
from countermand.participants import Context, Participant
from countermand.participants.inboxes.memory import MemoryInbox
from countermand.participants.saga import saga, step
from countermand.schemas import Command
from countermand.schemas.errors import DefinitionError


class Written(msgspec.Struct):
    """A saga as a file holds it."""

    document: bytes


class Number(msgspec.Struct):
    number: int


class Count(Command[Number], participant="counter"):
    number: int


def counter() -> Participant:
    participant = Participant("counter", inbox=MemoryInbox())

    @participant.handles(Count)
    async def count(command: Count, context: Context) -> Number:
        return Number(command.number + 1)

    @participant.compensates(Count)
    async def uncount(command: Count, result: Number | None, context: Context) -> None: ...

    return participant


def written(**fields: object) -> Written:
    """A step of the counter, with these fields."""
    node = {"node": "step", "name": "count", "participant": "counter", "action": "count", "input": {"number": 1}}
    root = {"node": "sequence", "nodes": [node | fields]}
    return Written(msgspec.json.encode({"countermand": 1, "name": "counted", "version": 1, "root": root}))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (written(input={"number": 1, "nmber": 2}), r"no field 'nmber'.*\[field-unknown\]"),
        (written(action="cout"), r"did you mean 'count'.*\[action-unknown\]"),
        (written(on_unknown="probe"), r"announces no probe for count.*\[probe-unknown\]"),
        (written(input={"number": "1"}), r"text, and the contract says a whole number.*\[type-mismatch\]"),
    ],
)
def test_a_story_tells_what_the_lint_warns_of(document: Written, said: str) -> None:
    """With the rule, the place and the mend, whatever the story expects."""
    with pytest.warns(SagaWarning, match=rf"counted@1: \$\.root\.nodes\[0\].*{said}"):
        given(document, {}, participants=[counter()]).expect_running()


def test_the_exhaustive_test_tells_it_once() -> None:
    """And not once for each of its cases."""
    with pytest.warns(SagaWarning) as told:
        exhaustive(written(on_unknown="probe"), {}, participants=[counter()])
    assert [each.category for each in told].count(SagaWarning) == 1


def test_what_is_right_is_no_warning() -> None:
    """Neither is a participant that nobody gave, which answers by itself."""

    @saga("counting", version=1)
    def counting(number: Number) -> Number:
        return step(Count(number=number.number))

    with warnings.catch_warnings(action="error", category=SagaWarning):
        given(counting, Number(1), participants=[counter()]).expect_completed(Number(2))
        given(counting, Number(1)).expect_completed()


def test_errors_are_refused() -> None:
    """As a coordinator does: with every finding."""
    with pytest.raises(DefinitionError, match=r"\[compensation-missing\]"):
        given(written(compensation=False), {}).expect_running()
