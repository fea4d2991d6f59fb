"""`definitions show`: every node in a line, nested as it is written, on terminals of any width."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from countermand.coordinator.cli.definition_table import definition_screen
from countermand.coordinator.cli.main import cli
from countermand.coordinator.operate.definitions.outline import outline
from countermand.schemas.definition import Definition, NamedNode, canonical, nodes_of
from definitions.showcase import node, path, showcase
from definitions.test_commands import NOBODY
from definitions.test_differences import made
from definitions.trees import trees
from schemas.documents import step


def show(*arguments: str, columns: int = 120) -> Result:
    return CliRunner(env=NOBODY | {"COLUMNS": str(columns)}).invoke(cli, ["definitions", "show", *arguments])


@pytest.fixture
def booking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "booking.json").write_bytes(canonical(showcase()))
    monkeypatch.chdir(tmp_path)
    return "booking.json"


def test_a_wide_terminal_has_columns(booking: str) -> None:
    """What a node does, how long it waits, what it is when the saga turns back; branches say when they are taken."""
    lines = show(booking).stdout.splitlines()
    assert lines[0].startswith("booking@4  ")
    assert lines[1] == "deadline 7d; 5 at once for each input.customer.id, waiting up to 1h"
    assert lines[3].split() == ["name", "what", "waits", "kind"]
    rows = {line.split()[0]: line for line in lines[4:] if line.strip()}
    assert rows["reserve_stock"].split() == ["reserve_stock", "inventory.reserve_stock", "30s,", "3x", "compensatable"]
    assert rows["capture_payment"].split()[-3:] == ["30s,", "10x", "pivot"]
    assert rows["release"].split(maxsplit=1)[1].split("  ")[0] == "approval: asks input.approvers"
    assert rows["release"].endswith("1h           or turns back")
    assert rows["ask_quote"].startswith("  ask_quote  ")
    assert rows["hold_quote"].startswith("      hold_quote  ")
    branches = [line for line in lines if line.endswith(":")]
    assert branches == [
        "    then:",
        "  then:",
        "      when not approved:",
        "  otherwise:",
        "  one after another:",
        "  when nothing came:",
    ]
    assert lines[-1] == 'outcome: {"parcel": steps.book_shipping.parcel_id}'


@pytest.mark.parametrize("columns", [72, 60, 40, 24])
def test_a_narrow_terminal_loses_nothing(booking: str, columns: int) -> None:
    """What has no room beside a name stands below it, and no line is longer than the terminal is wide."""
    narrow = show(booking, columns=columns).stdout
    assert max(map(len, narrow.splitlines())) <= columns
    told = "".join(narrow.split())
    for line in outline(showcase()):
        said = "; ".join(each for each in (line.what, line.waits, line.role) if each)
        assert "".join(f"{line.name}{'' if line.kind else ':'}{said}".split()) in told


def test_eighty_columns_are_enough_for_columns(booking: str) -> None:
    lines = show(booking, columns=80).stdout.splitlines()
    assert lines[3].split() == ["name", "what", "waits", "kind"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("given_", "name", "what", "waits", "role"),
    [
        (node("when", "x", condition=path("input.a"), then=step("y")), "x", "when input.a", "", ""),
        (
            node("for_each", "x", items=path("input.a"), body=step("y")),
            "x",
            "for each of input.a, 10 at once",
            "",
            "",
        ),
        (node("wait_for", "x", event="e", deadline_ms=1), "x", "waits for e", "1ms", "or turns back"),
        (node("wait_for", "x", event="e", on_timeout=step("y")), "x", "waits for e", "", ""),
        (node("sleep", "x", until="2030-01-01T00:00:00Z"), "x", 'sleeps until "2030-01-01T00:00:00Z"', "", ""),
        (
            node("approval", "x", assignees=[path("input.a"), "b"]),
            "x",
            "approval: asks input.a or b",
            "",
            "or turns back",
        ),
        (node("child", "x", definition="d", timeout_ms=1_000), "x", "child saga d", "1s", "compensatable"),
        (node("lock", "x", lock="l", key=7), "x", "lock l, key 7", "1h", ""),
        (node("scope", "x", body=step("y")), "x", "scope: undone alone", "", ""),
        (step("x", kind="retriable"), "x", "shop.x", "30s, no end", "retriable"),
        ({"node": "parallel", "branches": []}, "parallel", "side by side", "", ""),
    ],
)
def test_each_sort_of_node_in_words(given_: dict[str, Any], name: str, what: str, waits: str, role: str) -> None:
    line = outline(made(given_))[0]
    assert (line.name, line.what, line.waits, line.role) == (name, what, waits, role)


@given(trees(), st.integers(20, 140))
def test_every_node_has_a_line_on_any_terminal(definition: Definition, columns: int) -> None:
    """In the order of writing, whatever the tree; and what fits nowhere is broken, not lost."""
    named = [each.name for each in nodes_of(definition.root) if isinstance(each, NamedNode)]
    assert [line.name for line in outline(definition) if line.name in named] == named
    screen = Console(file=StringIO(), width=columns, color_system=None)
    screen.print(definition_screen(definition, None, screen))
    assert isinstance(screen.file, StringIO)
    assert all(len(line) <= columns for line in screen.file.getvalue().splitlines())


def test_the_document_and_what_is_not_there(booking: str) -> None:
    """As JSON it is the canonical document; wrong usage and missing files have their exit codes."""
    assert json.loads(show(booking, "-o", "json").stdout) == json.loads(canonical(showcase()))
    assert show("order@one").exit_code == 2
    assert show("missing.json").exit_code == 4
