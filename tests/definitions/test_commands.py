"""`apply` and `definitions` as a person runs them, beside a coordinator and what participants announced."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from countermand.coordinator.cli.main import cli
from countermand.coordinator.runtime import Coordinator
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage
from definitions.shop import YAML
from operate.conftest import Terminal
from schemas.documents import document, step

CONTRACT = {
    "command": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    "result": {"type": "object", "properties": {"id": {"type": "string"}}},
}
SHOP = AnnounceMessage(
    "shop", "one", (AnnouncedAction("reserve", True, CONTRACT), AnnouncedAction("pay", compensation=True))
)


def trade(version: int, *nodes: dict[str, Any]) -> str:
    return json.dumps(document(*nodes) | {"name": "buy", "version": version})


GOOD = step("reserve", input={"order_id": {"$": "input.id"}})
OLD = trade(1, GOOD, step("pay", input={"note": {"$": "steps.reserve.id"}}))
NEW = trade(2, step("reserve", input={"order": {"$": "input.id"}}), step("ship"))


async def test_apply_takes_every_notation_and_tells_what_differs(
    coordinator: Coordinator, terminal: Terminal, folder: Path
) -> None:
    """Several at once; nothing is registered by --check; the same content again is fine, other content is refused."""
    await coordinator.store.announce(SHOP)
    (folder / "old.json").write_text(OLD)
    (folder / "new.json").write_text(NEW)
    checked = await terminal.run("apply", "--check", "order.yaml", "shop:fulfil", "old.json", "new.json")
    assert checked.returncode == 0, checked.stderr
    labels = [line.split()[0] for line in checked.stdout.splitlines()]
    assert labels == ["order@3", "buy@1", "buy@2"]
    assert (
        "order.yaml:23: warning: $.root.nodes[1].branches[1].input.at: '2026-01-31T12:00:00' has no" in checked.stderr
    )
    assert "new.json: warning: $.root.nodes[0].input.order: the contract has no field 'order'" in checked.stderr
    assert await coordinator.store.definitions() == []
    strict = await terminal.run("apply", "--strict", "old.json", "new.json")
    assert strict.returncode == 5
    assert await coordinator.store.definitions() == []
    applied = await terminal.run("apply", "order.yaml", "shop", "old.json")
    assert applied.returncode == 0, applied.stderr
    assert [line.split()[0] for line in applied.stdout.splitlines()] == ["order@3", "other@1", "buy@1"]
    # The coordinator compares too, and the line is known here.
    assert "order.yaml:8: warning: $.root.nodes[0].participant: nobody called 'inventory' has" in applied.stderr
    (folder / "order.yaml").write_text(YAML.replace("timeout_ms: 10000", "timeout_ms: 20000"))
    taken = await terminal.run("apply", "order.yaml")
    assert taken.returncode == 4
    assert "order@3 is registered with other content" in taken.stderr
    assert "authorise_payment: timeout: 10s → 20s" in taken.stderr
    broken = CliRunner(env=NOBODY).invoke(cli, ["apply", "order.yaml", "missing.json", "shop:nothing"])
    assert (broken.exit_code, broken.stdout) == (4, "")
    assert "missing.json: can't be read" in broken.stderr
    assert "shop has no 'nothing'" in broken.stderr


async def test_apply_refuses_what_is_unsound_with_its_line(
    coordinator: Coordinator, terminal: Terminal, folder: Path
) -> None:
    """Of several, what is sound is registered; what is not has its findings, each with its place."""
    (folder / "old.json").write_text(OLD)
    (folder / "order.yaml").write_text(YAML.replace("timeout_ms: 10000", "timeout_ms: 0"))
    applied = await terminal.run("apply", "order.yaml", "old.json")
    assert applied.returncode == 5
    assert "order.yaml:16: error: $.root.nodes[1].branches[0].timeout_ms: 0 ms; a timeout is above 0" in applied.stderr
    assert [each.label for each in await coordinator.store.definitions()] == ["buy@1"]


async def test_versions_are_drawn_compared_and_checked(
    coordinator: Coordinator, terminal: Terminal, folder: Path
) -> None:
    """Before a deploy: what changed, what it means for sagas in motion, and who still serves what they may undo."""
    await coordinator.store.announce(SHOP)
    (folder / "old.json").write_text(OLD)
    (folder / "new.json").write_text(NEW)
    assert (await terminal.run("apply", "old.json")).returncode == 0
    started = await terminal.run("start", "buy@1", "--id", "buy-1", "--input", '{"id": "x"}')
    assert started.returncode == 0, started.stderr
    compared = await terminal.run("definitions", "diff", "buy", "new.json")
    here = "  (a saga could go over until it comes here)"
    assert compared.stdout.splitlines() == [
        "buy@1 → buy@2",
        f"  pay: removed: shop.pay{here}",
        f"  reserve: input.order_id: removed, was input.id{here}",
        f"  reserve: input.order: added, input.id{here}",
        f"  ship: added: shop.ship, compensatable{here}",
        "What this means",
        "  1 saga of buy@1 in motion: nothing changes for them, each keeps buy@1 to its end",
        "  shop must go on consuming the compensation of pay until they have ended",
        "  shop must go on consuming pay until they have ended",
        "  those that haven't come to pay, reserve or ship yet could be migrated to the new version",
    ]
    shown = await terminal.run("definitions", "show", "buy")
    assert shown.stdout.splitlines()[1] == "1 saga in motion"
    drawn = await terminal.run("definitions", "graph", "--saga", "buy-1", "--format", "svg")
    assert drawn.stdout.startswith("<svg ")
    assert "buy@1, buy-1: running" in drawn.stdout
    assert "asked, no reply yet" in drawn.stdout
    told = await terminal.json("definitions", "check", "buy@1", "--in-flight")
    assert told["findings"] == []
    assert [each["service"] for each in told["in_flight"]["contracts"]] == ["served", "served"]
    await coordinator.store.announce(AnnounceMessage("shop", "one", SHOP.actions[:1]))
    checked = await terminal.run("definitions", "check", "new.json", "--in-flight")
    assert checked.returncode == 4
    assert "buy@2: 3 findings" in checked.stdout
    assert "new.json: warning: $.root.nodes[1].action: shop announces no action 'ship'" in checked.stdout
    assert (
        "the compensation of pay, which up to 1 saga in motion (buy@1) may need, is announced by no" in checked.stdout
    )


async def test_what_is_not_there(coordinator: Coordinator, terminal: Terminal) -> None:
    """An exit code that a script can rely on."""
    missing = await terminal.run("definitions", "graph", "buy@9")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "buy@9 is not registered" in missing.stderr
    assert (await terminal.run("definitions", "graph", "--saga", "nobody")).returncode == 3


NOBODY = {"COUNTERMAND_REDIS_URL": "redis://127.0.0.1:1/0"}


def test_a_workshop_without_servers_can_check_draw_and_compare(folder: Path) -> None:
    """Files and modules are read without asking anybody; --strict refuses to guess what participants announce."""
    (folder / "old.json").write_text(OLD)
    (folder / "new.json").write_text(NEW)
    runner = CliRunner(env=NOBODY)
    alone = runner.invoke(cli, ["apply", "--check", "old.json", "order.yaml"])
    assert alone.exit_code == 0, alone.output
    assert "not compared with what participants announce" in alone.stderr
    assert "buy@1 " in alone.stdout
    assert runner.invoke(cli, ["apply", "--check", "--strict", "old.json"]).exit_code == 6
    assert "s1 --> s2" in runner.invoke(cli, ["definitions", "graph", "new.json"]).stdout
    told = json.loads(runner.invoke(cli, ["definitions", "diff", "old.json", "new.json", "-o", "json"]).stdout)
    assert [each["aspect"] for each in told["changes"]] == ["removed", "input", "input", "added"]
    assert {each["migration"] for each in told["changes"]} == {"until_reached"}
    assert told["in_motion"] is None
    twice = runner.invoke(cli, ["apply", "--check", "old.json", "again.json"])
    assert twice.exit_code == 4
    (folder / "again.json").write_text(trade(1, GOOD))
    twice = runner.invoke(cli, ["apply", "--check", "old.json", "again.json"])
    assert twice.exit_code == 4
    assert "buy@1 is defined twice, differently: in old.json and in again.json" in twice.stderr


def test_wrong_usage_and_what_cannot_be_read(folder: Path) -> None:
    runner = CliRunner(env=NOBODY)
    assert runner.invoke(cli, ["definitions", "check"]).exit_code == 2
    assert runner.invoke(cli, ["definitions", "graph"]).exit_code == 2
    assert runner.invoke(cli, ["apply"]).exit_code == 2
    several = runner.invoke(cli, ["definitions", "graph", "shop:"])
    assert (several.exit_code, several.stdout) == (4, "")
    assert "there is no such file" in several.stderr
