"""The demo from its first line to its last."""

import sys
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import msgspec
from rich.text import Text

from countermand.coordinator.dev.demo.actors import COUNTERMAND, Actor, BrokenInstall, Cast
from countermand.coordinator.dev.demo.example import SERVICES, example_folder, orders_of
from countermand.coordinator.dev.demo.judgement import judged, quiet_ledgers, write_evidence
from countermand.coordinator.dev.demo.performance import COORDINATOR, Kill, Performance
from countermand.coordinator.dev.demo.report import (
    a_story,
    outcomes_table,
    show_a_saga,
    show_next,
    show_verdict,
)
from countermand.coordinator.dev.demo.screen import Screen
from countermand.coordinator.dev.demo.surroundings import Surroundings, embedded_servers, given_servers
from countermand.coordinator.dev.processes import DevelopmentError, Guardian
from countermand.coordinator.runtime import open_store
from countermand.coordinator.settings import load_settings
from countermand.schemas.errors import CountermandError

SHOP: Final = "shop"
NAMES: Final = (COORDINATOR, *SERVICES, SHOP)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for. A kill is (percent of the orders that have ended, name of the process)."""

    orders: int = 200
    kills: tuple[tuple[int, str], ...] = ((25, COORDINATOR), (50, "payments"))
    down_s: float = 1.0
    folder: Path | None = None
    amqp_url: str | None = None
    redis_url: str | None = None
    example: Path | None = None


class _Places(msgspec.Struct, frozen=True):
    """Where the example's scripts are, and where everything goes that the run writes."""

    example: Path
    folder: Path


async def perform(options: Options, screen: Screen, *, begun_s: float) -> bool:
    """Runs the demo; whether the books balance. `begun_s` is the monotonic moment from which time is counted.

    Raises:
        DemoFailed: it could not be brought to its end; says why.
        BrokerUnavailable, StoreUnavailable: a given server can't be reached.
    """
    example = example_folder(options.example)
    try:
        with Guardian() as guardian:
            folder = _folder(options.folder, guardian)
            try:
                balanced = await _perform(options, screen, _Places(example, folder), guardian, begun_s)
            except (BrokenInstall, DevelopmentError):
                # Their own words say it all; only a folder that was asked for stays.
                raise
            except CountermandError:
                _keep(folder, guardian, screen, begun_s)
                raise
            if options.folder is not None or not balanced:
                _keep(folder, guardian, screen, begun_s)
            return balanced
    finally:
        screen.close()


async def _perform(options: Options, screen: Screen, places: _Places, guardian: Guardian, begun_s: float) -> bool:
    servers: AbstractAsyncContextManager[Surroundings]
    if options.amqp_url and options.redis_url:
        servers = given_servers(options.amqp_url, options.redis_url)
    else:
        servers = embedded_servers(places.folder / "servers", guardian)
    async with servers as surroundings:
        return await _Demo(options, screen, places, surroundings, guardian, begun_s).run()


def _folder(chosen: Path | None, guardian: Guardian) -> Path:
    """For ledgers, outcomes and logs: the chosen folder, or a temporary one that goes with the guardian."""
    if chosen is None:
        temporary = Path(tempfile.mkdtemp(prefix="countermand-demo-"))
        guardian.watch_folder(temporary)
        return temporary
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen.absolute()


def _keep(folder: Path, guardian: Guardian, screen: Screen, begun_s: float) -> None:
    if any(folder.iterdir()):
        guardian.forget_folder(folder)
        screen.tell(time.monotonic() - begun_s, f"ledgers, outcomes and logs are in {folder}")


class _Demo:
    """One run on servers that are there."""

    def __init__(
        self,
        options: Options,
        screen: Screen,
        places: _Places,
        surroundings: Surroundings,
        guardian: Guardian,
        begun_s: float,
    ) -> None:
        self._screen = screen
        self._folder = places.folder
        self._surroundings = surroundings
        self._guardian = guardian
        self._example = places.example
        self._orders = orders_of(self._example, options.orders)
        self._cast = Cast()
        self._store = open_store(load_settings(surroundings.environment))
        self._performance = Performance(
            self._cast,
            self._store,
            [order["id"] for order in self._orders],
            screen=screen,
            kills=[Kill(len(self._orders) * percent // 100, name) for percent, name in options.kills],
            down_s=options.down_s,
            begun_s=begun_s,
        )
        self._cast_all()

    async def run(self) -> bool:
        """Whether the books balance."""
        performance = self._performance
        performance.tell(f"servers: {self._surroundings.what}")
        try:
            async with self._cast:
                for actor in self._cast.actors.values():
                    await actor.start()
                count = len(self._orders)
                performance.tell(f"started a coordinator, three services, and a shop that places {count} orders")
                await performance.run()
                performance.tell("every order has ended; waiting until the ledgers are quiet")
                await quiet_ledgers(self._folder)
                return await self._judge()
        finally:
            await self._store.close()

    async def _judge(self) -> bool:
        performance, screen = self._performance, self._screen
        await write_evidence(self._folder, self._store, self._orders, performance.told)
        verdict = await judged(self._example, self._folder)
        screen.show(Text())
        screen.show(outcomes_table(performance.told.values()))
        show_verdict(screen, verdict, len(self._orders))
        story = await a_story(self._store, performance.told, performance.interrupted)
        if story is not None:
            await show_a_saga(screen, story, self._surroundings.environment)
            if story in performance.interrupted:
                screen.show(Text(f"{story} was on its way when the coordinator was killed.", "green"))
        if not verdict.differences:
            show_next(screen)
        screen.show(Text())
        performance.tell(
            f"{len(self._orders)} orders, {performance.killed.total()} kills, {len(verdict.differences)} differences",
            "bad" if verdict.differences else "good",
        )
        return not verdict.differences

    def _cast_all(self) -> None:
        commands: dict[str, list[str | Path]] = {COORDINATOR: [*COUNTERMAND, "serve"]}
        for name in SERVICES:
            script = self._example / f"{name}.py"
            commands[name] = [sys.executable, script, "--ledger", self._folder / f"{name}.sqlite"]
        commands[SHOP] = [sys.executable, self._example / "shop.py", "--orders", str(len(self._orders))]
        for name, command in commands.items():
            actor = Actor(
                name,
                command,
                environment=self._surroundings.environment,
                log=self._folder / f"{name}.log",
                guardian=self._guardian,
                on_event=self._performance.hear if name == SHOP else None,
            )
            self._cast.add(actor)
