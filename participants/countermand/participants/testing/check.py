"""Whether a participant keeps the rules: each command twice, undone before, after and without its action, probed where
it has a probe, and crashes.

    await check_participant(inventory, ReserveStock(order_id="1", lines=[…]), effects=count_the_shelf)

The rules are those that sagas rely on: see `barrier`. Each is tried under a key of its own, so the command's effects
must not collide with those of an earlier one: give a function of a number where an id has to be fresh.
"""

import textwrap
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from countermand.participants.participant import Participant
from countermand.participants.testing.asking import Asker
from countermand.participants.testing.sight import Look, Sight, in_words
from countermand.schemas.contract import Command, command_info
from countermand.schemas.errors import DefinitionError
from countermand.schemas.identifiers import new_saga_id
from countermand.schemas.messages import Failed, Rejected, ReplyOutcome, Succeeded

COLUMNS: Final = 100

AnyCommand = Command[Any] | Callable[[int], Command[Any]]


class BrokenRule(msgspec.Struct, frozen=True):
    """A rule that a handler broke: for which command, what was tried, what was found, and the mend."""

    command: str
    tried: str
    found: str

    def __str__(self) -> str:
        return f"{self.command}: {self.tried}: {self.found}"


class RuleBroken(AssertionError):
    """A participant broke rules; `rules` are all of them."""

    def __init__(self, participant: str, rules: list[BrokenRule]) -> None:
        wrapped = (textwrap.fill(f"{rule}", COLUMNS, initial_indent="- ", subsequent_indent="  ") for rule in rules)
        what = "a rule" if len(rules) == 1 else f"{len(rules)} rules"
        super().__init__("\n".join((f"the participant {participant} breaks {what}:", *wrapped)))
        self.rules = rules


async def check_participant(participant: Participant, *commands: AnyCommand, effects: Look | None = None) -> None:
    """Passes a participant that keeps every rule for these commands.

    `effects` says how to look at what its handlers did: a function, synchronous or not, that gives a mapping. Without
    it only the answers are looked at.

    Raises:
        RuleBroken: with every rule that was broken, in words.
    """
    __tracebackhide__ = True
    if rules := await examine_participant(participant, *commands, effects=effects):
        raise RuleBroken(participant.name, rules)


async def examine_participant(
    participant: Participant, *commands: AnyCommand, effects: Look | None = None
) -> list[BrokenRule]:
    """Every rule that the participant breaks; empty if all is well."""
    try:
        participant.check()
    except DefinitionError as error:
        return [BrokenRule(error.path, "all that its contracts promise", error.problem)]
    rules: list[BrokenRule] = []
    for command in commands:
        rules += await _Examination(participant, command, effects).run()
    return rules


class _Examination:
    """One command put to all trials."""

    def __init__(self, participant: Participant, command: AnyCommand, effects: Look | None) -> None:
        self._participant = participant
        self._command = command
        self._sight = Sight(effects)
        self._number = 0
        self._rules: list[BrokenRule] = []
        self._tried = ""
        self._name = ""

    async def run(self) -> list[BrokenRule]:
        first = await self._fresh("twice")
        outcome = await first.do()
        if isinstance(outcome, Succeeded):
            await self._twice(first, outcome)
            for trial in (self._crash_then_again, self._crash_before, *self._undo_trials(), *self._probe_trials()):
                await trial()
        else:
            await self._not_done(outcome)
        return self._rules

    def _undo_trials(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        if not command_info(type(self._made(0))).compensatable:
            return ()
        return (
            self._undone_after,
            self._undone_without,
            self._undone_after_a_crash,
            self._undone_through_a_crash,
        )

    def _probe_trials(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        # Without a probe of its own the record answers, which is the inbox's business.
        if command_info(type(self._made(0))).name not in self._participant.probed:
            return ()
        return (self._probed_without, self._probed_after_a_crash)

    # --- the trials

    async def _not_done(self, outcome: ReplyOutcome | None) -> None:
        """A command that isn't done can't be tried further; but a no has to leave nothing behind."""
        if isinstance(outcome, Rejected):
            if changed := await self._sight.changed():
                self._broken(
                    f"it was rejected ({outcome.code}) after it had done something ({in_words(changed)}): say no "
                    "before the first effect, or do the effect in context.transaction"
                )
        elif isinstance(outcome, Failed):
            self._broken(_FAILURES.get(outcome.code, f"it failed: {outcome.code}") + _reason(outcome))

    async def _twice(self, asker: Asker, first: Succeeded) -> None:
        once = await self._sight.now()
        second = await asker.do()
        if not isinstance(second, Succeeded) or bytes(second.result) != bytes(first.result):
            self._broken("the second answer is another one than the first: the inbox has to keep the first")
        if await self._sight.now() != once:
            self._broken("the second one had an effect of its own: the inbox has to keep the first outcome")

    async def _crash_then_again(self) -> None:
        once = await self._effect_of_once()
        asker = await self._fresh("a crash after its effect, then again")
        await asker.do(ends="after")
        outcome = await asker.do()
        if not isinstance(outcome, Succeeded):
            self._broken(f"the second attempt was not done: {_shown(outcome)}")
        elif (changed := _sizes(await self._sight.changed())) != once:
            self._broken(
                f"its effect came to {in_words(await self._sight.changed())}, which is not that of doing it once: do "
                "the effect in context.transaction, or make it idempotent by context.key"
                if changed
                else "the second attempt had no effect, although the first one's was undone"
            )

    async def _crash_before(self) -> None:
        asker = await self._fresh("a crash before its effect, then again")
        await asker.do(ends="before")
        outcome = await asker.do()
        if not isinstance(outcome, Succeeded):
            self._broken(f"the second attempt was not done: {_shown(outcome)}")

    async def _undone_after(self) -> None:
        asker = await self._fresh("undone after it was done")
        done = await asker.do()
        await self._undo(asker, done.result if isinstance(done, Succeeded) else None)
        self._tried = "undone twice"
        await self._undo(asker, None)
        await self._late(asker)

    async def _undone_without(self) -> None:
        asker = await self._fresh("undone without having been done")
        await self._undo(asker, None)
        await self._late(asker)

    async def _undone_after_a_crash(self) -> None:
        asker = await self._fresh("undone after a crash, when nobody knows its result")
        await asker.do(ends="after")
        await self._undo(asker, None)

    async def _undone_through_a_crash(self) -> None:
        asker = await self._fresh("undone, with a crash after the compensation's effect, then again")
        done = await asker.do()
        result = done.result if isinstance(done, Succeeded) else None
        await asker.undo(result, ends="after")
        await self._undo(asker, result)

    async def _probed_without(self) -> None:
        asker = await self._fresh("probed without having been done")
        await self._probe(asker)
        if changed := await self._sight.changed():
            self._broken(f"the probe did something: {in_words(changed)}; it has to look and do nothing")
        await self._late(asker)

    async def _probed_after_a_crash(self) -> None:
        asker = await self._fresh("probed after a crash, when nobody knows its result")
        await asker.do(ends="after")
        left = await self._sight.now()
        await asker.probe(ends="after")
        await self._probe(asker)
        if await self._sight.now() != left:
            self._broken("the probe had an effect of its own; it has to look and do nothing")
        if command_info(type(self._made(0))).compensatable:
            self._tried = "probed after a crash, then undone"
            await self._undo(asker, None)

    async def _probe(self, asker: Asker) -> None:
        """The probe says what is there to be seen; without sight, anything but a failure will do."""
        outcome = await asker.probe()
        changed = await self._sight.changed()
        match outcome:
            case Failed():
                self._broken(f"the probe has no answer: {_shown(outcome)}{_reason(outcome)}")
            case Succeeded() if self._sight.sees and not changed:
                self._broken("the probe says that it was done, and nothing was")
            case Rejected() if changed:
                self._broken(f"the probe says that nothing was done, and this was: {in_words(changed)}")
            case _:
                pass

    async def _undo(self, asker: Asker, result: msgspec.Raw | None) -> None:
        outcome = await asker.undo(result)
        if not isinstance(outcome, Succeeded):
            self._broken(
                f"its compensation was not done: {_shown(outcome)}; it has to succeed in the end, also when "
                "the action's result is None"
            )
        elif changed := await self._sight.changed():
            self._broken(
                f"this is left of it: {in_words(changed)}; the compensation has to take back what the action did, once"
            )

    async def _late(self, asker: Asker) -> None:
        self._tried = f"{self._tried}, then the action comes late"
        outcome = await asker.do()
        if isinstance(outcome, Succeeded):
            self._broken("it was done: the inbox has to refuse an action that comes after its compensation")
        elif changed := await self._sight.changed():
            self._broken(f"it was refused, and did something all the same: {in_words(changed)}")

    # --- what they stand on

    def _made(self, number: int) -> Command[Any]:
        return self._command if isinstance(self._command, Command) else self._command(number)

    async def _fresh(self, tried: str) -> Asker:
        self._number += 1
        self._tried = tried
        command = self._made(self._number)
        self._name = type(command).__name__
        await self._sight.begin()
        return Asker(self._participant, command, new_saga_id())

    async def _effect_of_once(self) -> list[Any]:
        asker = await self._fresh("once")
        await asker.do()
        return _sizes(await self._sight.changed())

    def _broken(self, found: str) -> None:
        self._rules.append(BrokenRule(self._name, self._tried, found))


_FAILURES: Final = {
    "WrongResult": "its result is not what the contract says, or can't be written as JSON",
    "result_too_large": "its result is over the limits",
}


def _sizes(changed: dict[str, tuple[Any, Any]]) -> list[Any]:
    """By how much things changed, whatever their names: every trial may have ids of its own."""
    return sorted(
        (
            (now or 0) - (was or 0) if isinstance(was or 0, int | float) and isinstance(now or 0, int | float) else now
            for was, now in changed.values()
        ),
        key=repr,
    )


def _shown(outcome: ReplyOutcome | None) -> str:
    match outcome:
        case Rejected(code=code) | Failed(code=code):
            return f"{type(outcome).__name__.lower()}, {code}"
        case _:
            return "no answer"


def _reason(outcome: Failed) -> str:
    return f" ({outcome.reason})" if outcome.reason else ""
