"""Attacks on the development broker, judged by what a well-behaved client notices of them: nothing.

    cd tests && python -m amqp.fuzz --seconds 3600 --seed 1

In rounds: a fresh seed, attackers, one client that publishes and consumes numbers. In each round every number comes,
once and in order, the broker's memory stays within bounds, and its log holds nothing unexpected; then it is killed, and
must come back.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import sys
import time
from pathlib import Path

import structlog
from pamqp.commands import Queue

from amqp.attacks import QUEUES, Attacker
from amqp.raw import logged_in
from countermand.wire import Confirmed
from support import DevelopmentServer, eventually
from wire.wiring import Wiring, take

ROUND_S = 30.0
# How often the queues are emptied and the memory is looked at while the attacks go on; nothing waits for a condition.
PACE_S = 0.5
ATTACKERS = 6
MESSAGE_MEMORY_MB = 96
# The messages' memory, as much again for copies on their way, the journal's buffers, Python, and what malloc keeps.
RSS_MB_MAX = 500
BATCH = 20
READ_BYTES = 1 << 16
# Our own words for what a client did wrong, and nothing else.
EXPECTED = re.compile(r"^(timestamp=\S+ level=(info|warning) |listening on )")


class Judgement(AssertionError):
    """The broker broke a promise; the text says which, and the seed."""


class Fuzz:
    """One broker under attack."""

    def __init__(self, seed: int) -> None:
        self.server = DevelopmentServer("--memory-mb", str(MESSAGE_MEMORY_MB))
        self.seed = seed
        self.conversations = 0
        self.messages = 0
        self.rss_mb_max = 0
        self._number = 0
        self._log_position = 0

    async def round(self, seconds: float) -> None:
        """One round with the next seed. Raises Judgement."""
        self.seed += 1
        deadline = time.monotonic() + seconds
        wiring = Wiring(self.server.amqp_url, "good")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(ATTACKERS):
                    group.create_task(self._attack(Attacker(self.seed * 100 + number), deadline))
                group.create_task(self._work(wiring, deadline))
                group.create_task(self._clean(deadline))
                group.create_task(self._watch(deadline))
        except BaseExceptionGroup as errors:
            judged = errors.subgroup(Judgement)
            if judged is None:
                raise
            raise Judgement(f"seed {self.seed}: {judged.exceptions[0]}") from errors
        finally:
            await wiring.close()
        self._read_log()

    async def _attack(self, attacker: Attacker, deadline: float) -> None:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError):
                await self._converse(attacker.conversation(), attacker)
            self.conversations += 1

    async def _converse(self, data: bytes, attacker: Attacker) -> None:
        reader, writer = await asyncio.open_connection(*self.server.address)
        try:
            async with asyncio.timeout(1.0):
                pieces = attacker.chance.choice([1, 1, 3])
                size = len(data) // pieces + 1
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    await asyncio.sleep(0)
                if attacker.chance.random() < 0.7:  # The others never read.
                    async with asyncio.timeout(attacker.chance.choice([0.01, 0.05, 0.3])):
                        while await reader.read(READ_BYTES):
                            pass
        finally:
            if attacker.chance.random() < 0.5:
                writer.transport.abort()
            writer.close()

    async def _work(self, wiring: Wiring, deadline: float) -> None:
        """The good client: what it publishes it receives, once and in order, and never loses its connection."""
        publisher, consumer = await wiring.publisher(), await wiring.consumer()
        expected = self._number
        while time.monotonic() < deadline:
            outcomes = await publisher.publish(wiring.messages(BATCH, first=self._number))
            if any(not isinstance(outcome, Confirmed) for outcome in outcomes):
                raise Judgement(f"the good client's publishes ended as {outcomes}")
            self._number += BATCH
            try:
                async with asyncio.timeout(20):
                    got = await take(consumer, BATCH)
            except TimeoutError:
                raise Judgement("the good client's messages don't come") from None
            numbers = [int(delivery.body) for delivery in got]
            if numbers != list(range(expected, expected + BATCH)) or any(delivery.redelivered for delivery in got):
                raise Judgement(f"expected {expected} and what follows, received {numbers}")
            expected += BATCH
            self.messages += BATCH
        if publisher.connection.sessions_opened != 1 or consumer.connection.sessions_opened != 1:
            raise Judgement("the good client lost its connection")

    async def _clean(self, deadline: float) -> None:
        """Without it the attackers would fill the broker in seconds, and say nothing new from then on."""
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError, EOFError, OSError, TimeoutError):
                async with logged_in(self.server.address) as client:
                    for queue in QUEUES:
                        await client.ask(Queue.Delete(queue=queue), Queue.DeleteOk)
            await asyncio.sleep(PACE_S)

    async def _watch(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self._read_log()
            rss_mb = self.server.rss_mb()
            self.rss_mb_max = max(self.rss_mb_max, rss_mb)
            if rss_mb > RSS_MB_MAX:
                raise Judgement(f"the broker takes {rss_mb} MB; expected at most {RSS_MB_MAX}")
            await asyncio.sleep(PACE_S)

    def _read_log(self) -> None:
        """Judge what was logged since the last time."""
        log: Path = self.server.log
        with log.open("rb") as file:
            file.seek(self._log_position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.decode(errors="replace").split("\n")[:-1]
        for number, line in enumerate(lines):
            if not EXPECTED.match(line) or not line.isprintable():
                raise Judgement("unexpected lines in the log:\n" + "\n".join(lines[number : number + 30])[:5_000])
        self._log_position += len(whole)

    async def restart(self) -> None:
        """Kill it, and see it come back."""
        await self.server.kill_async()
        self._read_log()
        os.truncate(self.server.log, 0)  # An hour of it fills the disk; now nobody writes to it.
        self._log_position = 0
        await self.server.start_async()


async def run(seconds: float, seed: int, *, round_s: float = ROUND_S, say: bool = False) -> Fuzz:
    """Attack for so long. Raises Judgement at the first broken promise."""
    fuzz = Fuzz(seed)
    deadline = time.monotonic() + seconds
    try:
        await asyncio.to_thread(fuzz.server.launch)
        while (left := deadline - time.monotonic()) > 0:
            await fuzz.round(min(left, round_s))
            if say:
                print(
                    f"seed {fuzz.seed}: {fuzz.conversations} conversations, {fuzz.messages} good messages, "
                    f"at most {fuzz.rss_mb_max} MB, {max(deadline - time.monotonic(), 0):.0f} s left",
                    flush=True,
                )
            if time.monotonic() < deadline:
                await fuzz.restart()
        await eventually(lambda: bool(fuzz.server.handshake()))
    finally:
        await asyncio.to_thread(fuzz.server.close)
    return fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description="Attacks the development broker.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        fuzz = asyncio.run(run(arguments.seconds, arguments.seed, say=True))
    except Judgement as error:
        print(f"FAILED {error}", flush=True)
        return 1
    print(f"well: {fuzz.conversations} conversations, {fuzz.messages} good messages, at most {fuzz.rss_mb_max} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
