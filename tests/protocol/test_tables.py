"""The tables of headers and codes say what the code does."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

from countermand.coordinator.core.journal import Record, StepSucceeded
from countermand.coordinator.core.state import StuckCause
from countermand.coordinator.outbox import lifecycle_of
from countermand.participants.errors import ResultTooLarge, Retry
from countermand.schemas import codes
from countermand.schemas.identifiers import DIRECTIONS
from countermand.schemas.messages import LifecycleName
from protocol.wire_format import SIDES, Watched, golden, incoming, readable_names, side_of
from store.sagas import NOW_MS, started
from support.files import portion_folder

CORE = portion_folder("coordinator") / "core"


@pytest.mark.parametrize("kind", SIDES)
def test_what_is_written_is_in_the_table(kind: str) -> None:
    """Every header of the table is written by some message of its kind, and no other; what is needed is in each."""
    table = {each.name: each.need for each in SIDES[kind].kind.headers}
    written = [set(golden(name)["headers"]) for name in readable_names() if side_of(name).kind.name == kind]
    assert set.union(*written) == set(table)
    assert set.intersection(*written) >= {name for name, need in table.items() if need != "optional"}


@pytest.mark.parametrize("name", readable_names())
def test_what_is_read_is_in_the_table(name: str) -> None:
    """A reader asks for the headers that its table says are read, and for no other."""
    side, message = side_of(name), incoming(golden(name))
    watched = Watched(message.headers)
    side.read(type(message)(watched, message.body, message.content_type, message.reply_to))
    table = {each.name: each.need for each in side.kind.headers}
    assert watched.asked <= {header for header, need in table.items() if need != "sent"}
    assert watched.asked >= {header for header, need in table.items() if need == "required"}


def calls(*paths: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a plain name, with that name."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id, node


def constants(path: Path) -> dict[str, str]:
    """The module's names for texts."""
    tree = ast.parse(path.read_text())
    return {
        node.target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def literals(node: ast.Call, place: int, named: Mapping[str, str]) -> set[str]:
    """The text in this place of a call, if it is written there or has a name in the module."""
    if len(node.args) <= place:
        return set()
    found = node.args[place]
    options = [found.body, found.orelse] if isinstance(found, ast.IfExp) else [found]
    texts = {each.value for each in options if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return texts | {named[each.id] for each in options if isinstance(each, ast.Name) and each.id in named}


def used(places: dict[str, int], *paths: Path) -> set[str]:
    return {
        text
        for path in paths
        for name, call in calls(path)
        if name in places
        for text in literals(call, places[name], constants(path))
    }


def test_the_refusal_codes_are_the_ones_in_use() -> None:
    """Neither a code that nobody knows nor one that nobody gives."""
    coordinator = portion_folder("coordinator")
    paths = [*CORE.glob("*.py"), coordinator / "process.py", coordinator / "definitions.py"]
    found = used({"Refused": 1, "Refusal": 0, "Incompatible": 0}, *paths)
    # The reading of a document refuses with its error's own code.
    assert found | {"definition_error"} == set(codes.REFUSAL_CODES)


def test_the_failure_codes_are_the_ones_in_use() -> None:
    found = used({"Failure": 0, "_without_branch": 2}, *CORE.glob("*.py"))
    assert found == set(codes.FAILURE_CODES)


def test_the_codes_of_attempts_are_the_ones_in_use() -> None:
    assert used({"Failed": 0}, CORE / "settle.py") == set(codes.ATTEMPT_CODES)


def test_the_coordinator_s_own_codes_as_a_participant_are_the_ones_in_use() -> None:
    """What a child saga or a lock is answered with."""
    gate = portion_folder("coordinator") / "gates" / "gate.py"
    assert used({"Rejected": 0, "Failed": 0}, CORE / "commands.py", gate) == set(codes.COORDINATOR_CODES)


def test_a_participant_s_codes_are_the_ones_in_use() -> None:
    """What the library rejects and fails with by itself."""
    folder = portion_folder("participants")
    paths = [folder / "barrier.py", folder / "running.py", *(folder / "inboxes").glob("*.py")]
    rejected = used({"Rejected": 0, "RejectedOutcome": 0, "_refused": 0}, *paths)
    assert rejected == set(codes.REJECTED_CODES)
    failed = used({"Failed": 0, "_refused": 0}, *paths) | chosen(folder / "running.py")
    # An error's own code, and what a handler's wish for another attempt has without one.
    assert failed | {ResultTooLarge.code, Retry().code} == set(codes.FAILED_CODES)


def chosen(path: Path) -> set[str]:
    """The codes that are chosen between before they are given: `code = … if … else …`."""
    choices = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "code"
    ]
    options = [each for choice in choices if isinstance(choice, ast.IfExp) for each in (choice.body, choice.orelse)]
    return {each.value for each in options if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def test_the_causes_of_being_stuck_are_all_told() -> None:
    assert set(codes.STUCK_CAUSES) == set(get_args(StuckCause))


def test_the_fields_of_lifecycle_events_are_what_is_told() -> None:
    """Name for name and field for field, from where they are made."""
    assert set(codes.LIFECYCLE_FIELDS) == set(get_args(LifecycleName))
    tree = ast.parse((portion_folder("coordinator") / "outbox.py").read_text())
    told = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("_told")]
    found = {}
    for node in (inner for function in told for inner in ast.walk(function)):
        match node:
            case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=name), ast.Dict(keys=keys)])):
                found[name] = tuple(key.value for key in keys if isinstance(key, ast.Constant))
    assert found == dict(codes.LIFECYCLE_FIELDS)


def test_an_action_that_a_probe_found_done_is_told_as_done() -> None:
    """A listener needn't know how the coordinator learnt of it."""
    state = started("saga-1").saga.state
    records = [Record(2, NOW_MS, "test", StepSucceeded("reserve", direction, 1)) for direction in DIRECTIONS]
    told = dict(zip(DIRECTIONS, (event.name for event in lifecycle_of(state, records)), strict=True))
    assert told == {"do": "step.succeeded", "undo": "step.compensated", "probe": "step.succeeded"}
