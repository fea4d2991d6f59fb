"""Commands and replies on their way between the coordinator and those it asks, and what goes wrong there.

The coordinator asks participants, and of itself child sagas and locks; both go the same way and meet the same troubles.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from countermand.coordinator.testing.addresses import Family
from countermand.coordinator.testing.answering import reply_to
from countermand.coordinator.testing.cast import Cast
from countermand.coordinator.testing.clockwork import Clockwork
from countermand.coordinator.testing.timeline import named, outcome_in_words
from countermand.coordinator.testing.troubles import (
    ANSWERS,
    COMMAND_WAYS,
    COORDINATOR_CRASHES,
    PARTICIPANT_CRASHES,
    REPLY_WAYS,
    Kind,
    Trouble,
    Troubles,
)
from countermand.schemas.coordination import LOCK_ACTION
from countermand.schemas.definition import COORDINATOR
from countermand.schemas.envelope import Envelope, write_command, write_reply
from countermand.schemas.messages import CommandMessage, Failed, Rejected, ReplyMessage, ReplyOutcome, Succeeded
from countermand.schemas.topology import DELIVERY_LIMIT

RESTART_MS: Final = 500  # How long a process that crashed is away.
LATE_MS: Final = 50  # How much too late a command comes that comes too late; or a second copy after the first.

# Who, what, and the saga.
Note = Callable[[str, str, str], None]
# Gives the coordinator a message, which it takes at once or crashes at; what it is, for people, and the saga.
Take = Callable[[Envelope, Trouble | None, str, str], Awaitable[None]]


class Courier:
    """Carries every command and reply. `knows` says whether a child saga's definition is there to be run."""

    def __init__(
        self,
        clockwork: Clockwork,
        troubles: Troubles,
        cast: Cast,
        family: Family,
        *,
        note: Note,
        take: Take,
        knows: Callable[[CommandMessage], bool],
    ) -> None:
        self._clockwork = clockwork
        self._troubles = troubles
        self._cast = cast
        self._family = family
        self._note = note
        self._take = take
        self._knows = knows
        self._locks: set[str] = set()
        self._held: list[CommandMessage] = []
        self._late: list[ReplyMessage] = []

    @property
    def holds_back(self) -> bool:
        """Whether something is still to come that nobody waits for any more."""
        return bool(self._held or self._late)

    def send(self, command: CommandMessage) -> None:
        """The coordinator has sent a command."""
        what = named(command.step, command.direction)
        attempt = "" if command.attempt == 1 else f", attempt {command.attempt}"
        if command.participant == COORDINATOR and command.action == LOCK_ACTION:
            self._locks.add(command.command_id)
        if command.participant != COORDINATOR or command.direction != "do" or attempt:
            # That a lock or a child is asked for is told where the saga decides it.
            self._note("coordinator", f"asks {_asked(command)} for {what}{attempt}", command.saga_id)
        trouble = self._trouble(command, COMMAND_WAYS)
        if trouble is not None:
            self._note("trouble", f"{what}: {trouble.words}", command.saga_id)
        latency_ms = self._clockwork.latency_ms()
        match None if trouble is None else trouble.kind:
            case "command_overtaken":
                self._held.append(command)
            case "command_late":
                self._carry(command, self._left_ms(command) + LATE_MS)
            case "command_duplicated":
                self._carry(command, latency_ms)
                self._carry(command, self._clockwork.latency_ms() + LATE_MS)
            case _:
                self._carry(command, latency_ms)

    def reply(self, reply: ReplyMessage) -> None:
        """Somebody has answered a command."""
        what = named(reply.step, reply.direction)
        replayed = " (from its records)" if reply.replayed else ""
        said = f"answers {what}: {outcome_in_words(reply.outcome)}{replayed}"
        if reply.command_id in self._locks and isinstance(reply.outcome, Succeeded):
            said = f"grants {what}"
        self._note(reply.participant, said, reply.saga_id)
        trouble = self._trouble(reply, REPLY_WAYS)
        if trouble is not None:
            self._note("trouble", f"{what}: {trouble.words}", reply.saga_id)
        latency_ms = self._clockwork.latency_ms()
        match None if trouble is None else trouble.kind:
            case "reply_lost":
                return
            case "reply_late":
                self._late.append(reply)
            case "reply_delayed" if trouble is not None:
                self._bring(reply, latency_ms + trouble.delay_ms)
            case "reply_duplicated":
                self._bring(reply, latency_ms)
                self._bring(reply, latency_ms + LATE_MS)
            case _:
                self._bring(reply, latency_ms)

    def release(self) -> None:
        """What was held back arrives when nobody waits for it any more."""
        held, self._held = self._held, []
        for command in held:
            what = named(command.step, command.direction)
            self._note("trouble", f"the overtaken command for {what} arrives at last", command.saga_id)
            self._carry(command, self._clockwork.latency_ms())
        late, self._late = self._late, []
        for reply in late:
            what = named(reply.step, reply.direction)
            self._note("trouble", f"the late reply to {what} arrives at last", reply.saga_id)
            self._bring(reply, self._clockwork.latency_ms())

    # --- there

    def _carry(self, command: CommandMessage, delay_ms: int, delivery: int = 1) -> None:
        async def arrive() -> None:
            await self._arrived(command, delivery)

        self._clockwork.after(delay_ms, arrive)

    async def _arrived(self, command: CommandMessage, delivery: int) -> None:
        made_up = self._trouble(command, ANSWERS)
        if made_up is not None:
            self.reply(reply_to(command, _made_up(made_up)))
        elif command.participant == COORDINATOR and self._knows(command):
            what = f"the command for {named(command.step, command.direction)}"
            await self._take(write_command(command), None, what, command.saga_id)
        elif not await self._handled(command, delivery):
            return
        else:
            self._overtake(command)

    async def _handled(self, command: CommandMessage, delivery: int) -> bool:
        """Whether the participant's process has come through it."""
        what = named(command.step, command.direction)
        crash = self._trouble(command, PARTICIPANT_CRASHES)
        _, address = self._family.address(command.saga_id, command.step)
        reply = await self._cast.handle(command, address, crash)
        if reply is not None:
            self.reply(reply)
            return True
        when = "" if crash is None else crash.once.removeprefix("participant crashed ")
        self._note(command.participant, f"crashes at {what}, {when}", command.saga_id)
        if delivery < DELIVERY_LIMIT:
            self._carry(command, RESTART_MS, delivery + 1)
        else:
            self._note("broker", f"gives {what} up after {delivery} deliveries", command.saga_id)
        return False

    def _overtake(self, command: CommandMessage) -> None:
        """The held commands of this step that this one has overtaken come after it."""
        overtaken = [
            each
            for each in self._held
            if (each.saga_id, each.step) == (command.saga_id, command.step)
            and (each.direction, each.attempt) != (command.direction, command.attempt)
        ]
        for held in overtaken:
            self._held.remove(held)
            what = named(held.step, held.direction)
            self._note("trouble", f"the overtaken command for {what} arrives", held.saga_id)
            self._carry(held, self._clockwork.latency_ms())

    # --- and back

    def _bring(self, reply: ReplyMessage, delay_ms: int) -> None:
        async def arrive() -> None:
            crash = self._trouble(reply, COORDINATOR_CRASHES)
            what = f"the reply to {named(reply.step, reply.direction)}"
            await self._take(write_reply(reply), crash, what, reply.saga_id)

        self._clockwork.after(delay_ms, arrive)

    def _left_ms(self, command: CommandMessage) -> int:
        """How much longer the coordinator waits for this attempt."""
        return max(0, command.deadline_ms - self._clockwork.now_ms())

    def _trouble(self, message: CommandMessage | ReplyMessage, kinds: tuple[Kind, ...]) -> Trouble | None:
        root, address = self._family.address(message.saga_id, message.step)
        return self._troubles.take(root, address, message.direction, kinds)


def _asked(command: CommandMessage) -> str:
    if command.participant != COORDINATOR:
        return command.participant
    return "the lock" if command.action == LOCK_ACTION else "the child saga"


def _made_up(trouble: Trouble) -> ReplyOutcome:
    if trouble.kind == "rejects":
        return Rejected(trouble.code or "rejected_by_the_test", trouble.reason)
    return Failed(trouble.code or "failed_by_the_test", trouble.reason, trouble.rolled_back)
