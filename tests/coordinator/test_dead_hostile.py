"""Dead letters that a stranger wrote: none hides another, none is too heavy, and what wasn't looked at isn't denied."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner, Result

from coordinator.test_dead import Morgue
from countermand.coordinator.cli import dead as commands
from countermand.coordinator.operate import dead
from countermand.coordinator.operate.letters import LetterFilter, letter_detail, letter_line
from countermand.schemas.envelope import timestamp
from countermand.schemas.moments import MOMENT_MAX_MS
from countermand.wire import AT_HEADER, QUEUE_HEADER, Message
from support import RabbitServer

pytestmark = pytest.mark.servers

EVERY = LetterFilter()
NO_REASON = "it doesn't say why"


@pytest.fixture
async def morgue(rabbitmq: RabbitServer, namespace: str) -> AsyncIterator[Morgue]:
    async with Morgue(rabbitmq.amqp_url, namespace) as each:
        yield each


@pytest.mark.parametrize("moment", [2**62, -(2**62), MOMENT_MAX_MS + 1, "noon", 0])
async def test_a_letter_with_an_odd_moment_hides_no_other(morgue: Morgue, moment: int | str) -> None:
    """What no calendar has is unknown; all letters are listed and shown."""
    await morgue.put_aside("good")
    await mute(morgue, headers={AT_HEADER: moment, QUEUE_HEADER: "q"})
    good, odd = (await morgue.letters.look(EVERY)).letters
    assert letter_line(good)["died"] is not None
    assert letter_line(odd)["died"] is None
    assert letter_detail(odd)["headers"][AT_HEADER] == moment


def test_every_moment_can_be_told() -> None:
    """Whatever number stands for it; the nearest that a calendar has."""
    assert timestamp(2**62) == timestamp(MOMENT_MAX_MS) == "9999-12-31T23:59:59.999Z"
    assert timestamp(-(2**62)) == timestamp(0) == "1970-01-01T00:00:00.000Z"


async def test_a_letter_behind_others_is_not_denied(morgue: Morgue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all were looked at, that is what is said, and how to go on; throwing away by reason gets past them."""
    monkeypatch.setattr(dead, "LETTERS_MAX", 3)
    for _ in range(4):
        await mute(morgue)
    await morgue.put_aside("mine", saga_id="o-99")
    look = await morgue.letters.look(LetterFilter(saga_id="o-99"))
    assert (look.letters, look.seen, look.stopped_by) == ([], 3, "room")
    for command in (("list",), ("redrive", "--reason", "x", "--yes"), ("delete", "--yes")):
        done = await typed(morgue, monkeypatch, *command, "--saga", "o-99")
        assert "no dead letter among the oldest 3 matches; those behind them were not looked at" in done.output
        assert "delete --died-of" in done.output
    done = await typed(morgue, monkeypatch, "delete", "--died-of", NO_REASON, "--yes")
    assert (done.exit_code, "3 deleted" in done.output) == (0, True), done.output
    done = await typed(morgue, monkeypatch, "redrive", "--saga", "o-99", "--reason", "x", "--yes")
    assert done.exit_code == 0, done.output
    assert await morgue.bodies(morgue.topology.participant_queue("stock")) == [b"mine"]


async def test_only_what_matches_is_thrown_away(morgue: Morgue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and conditions together: a letter that is named and doesn't match stays. Without either, nothing is done."""
    await mute(morgue)
    await morgue.put_aside("kept", saga_id="o-1")
    lost, kept = (await morgue.letters.look(EVERY)).letters
    done = await typed(morgue, monkeypatch, "delete", lost.id, kept.id, "--died-of", NO_REASON, "--yes")
    assert done.exit_code == 0, done.output
    assert [each.id for each in (await morgue.letters.look(EVERY)).letters] == [kept.id]
    done = await typed(morgue, monkeypatch, "delete", "--yes")
    assert (done.exit_code, "which letters?" in done.output) == (2, True)


async def test_headers_weigh_too(morgue: Morgue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters without a body, and with much in their headers, are not held beyond what there is room for."""
    monkeypatch.setattr(dead, "BYTES_MAX", 50_000)
    for number in range(5):
        await mute(morgue, body=b"", headers={f"h{number}": "x" * 20_000})
    look = await morgue.letters.look(EVERY)
    assert (look.seen, look.stopped_by) == (3, "room")


async def test_where_each_goes_is_said_before(morgue: Morgue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody confirms it: how many go to which queue, and which can't go anywhere, and why."""
    await morgue.put_aside("1", "2")
    await morgue.put_aside("3", participant="bank")
    await mute(morgue)
    done = await typed(morgue, monkeypatch, "redrive", "--all", "--reason", "x")
    stock, bank = (morgue.topology.participant_queue(name) for name in ("stock", "bank"))
    for line in (f"2 to {stock}", f"1 to {bank}", "1 to nowhere: it doesn't say which queue it came from"):
        assert line in done.output, done.output
    assert done.exit_code == 4
    assert len((await morgue.letters.look(EVERY)).letters) == 4


async def mute(morgue: Morgue, *, body: bytes = b"?", headers: dict[str, str | int] | None = None) -> None:
    await morgue.send(Message(morgue.topology.dead_exchange, "", body, headers or {}))


async def typed(morgue: Morgue, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """A command in this process, so that it has the limits of the test."""
    monkeypatch.setattr(commands, "quiet_logging", lambda: None)  # It would quieten the tests that come after.
    monkeypatch.setenv("COUNTERMAND_AMQP_URL", morgue.url)
    monkeypatch.setenv("COUNTERMAND_PREFIX", morgue.topology.prefix)
    return await asyncio.to_thread(CliRunner().invoke, commands.dead, list(arguments))
