"""One command while it is run: through the barrier, into its handler, and how the outcome becomes an answer.

The rules:
- The inbox is entered first, whatever is wrong with the command: an answer on record is given again, and a refusal
  is kept, so that a message that comes again after the next release isn't suddenly executed.
- An action that can't be understood is rejected, because nothing was done. A compensation never is: something may
  have to be undone, so it fails visibly until somebody makes it possible.
  So is an action after an attempt that had begun: only a handler can vouch for that one.
- A probe says what became of the action and never that an attempt left nothing behind: only `not_done` says so.
- What a handler raises is told to nobody but as the name of its class.
- A thread can't be stopped. A synchronous handler that is cancelled keeps its key until its thread has ended, as long
  as the event loop lives; after that a key in Redis is free when its lease runs out.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from contextvars import copy_context
from typing import Any, Final, TypeVar

import msgspec

from countermand.participants.barrier import (
    NOT_DONE,
    Answer,
    Clock,
    Entry,
    Inbox,
    Proceed,
    Recorded,
    answer_to,
    unprobed,
)
from countermand.participants.context import Context, Contract, Handler
from countermand.participants.errors import REASON_CHARACTERS_MAX, Rejected, ResultTooLarge, Retry, WrongResult
from countermand.participants.logging import HANDLER_FAILED, INBOX_FAILED, log_failed
from countermand.schemas.codec import check_undo_body, decode_body, encode
from countermand.schemas.errors import LimitExceeded, MalformedMessage
from countermand.schemas.identifiers import NAME_MAX
from countermand.schemas.messages import CommandMessage, Failed, ReplyOutcome, Succeeded, UndoBody
from countermand.schemas.messages import Rejected as RejectedOutcome

# Codes are names, and are as long as those at most. The class of an exception can have a longer one.
CODE_CHARACTERS_MAX: Final = NAME_MAX

# Complaints of msgspec's and of pydantic's that name fields and types; any other may quote what it found.
_TELLABLE: Final = ("Expected `", "Object missing required field `", "Input should be ", "Field required")


class _ThreadLeft(asyncio.CancelledError):
    """The task was cancelled again and waits no longer for its handler's thread, which goes on."""

    def __init__(self, ended: "asyncio.Future[Any]") -> None:
        super().__init__()
        self.ended = ended


class Runner:
    """Runs commands through the inbox and the handlers; every command gets an answer."""

    def __init__(
        self, contracts: Mapping[str, Contract], inbox: Inbox, *, threads: Executor, clock: Clock, clock_skew_ms: int
    ) -> None:
        self._contracts = contracts
        self._inbox = inbox
        self._threads = threads
        self._clock = clock
        self._clock_skew_ms = clock_skew_ms
        # Stays in the inbox that outlive their tasks: see `_ThreadLeft`.
        self._leaving: set[asyncio.Task[None]] = set()

    def rehearse(self, inbox: Inbox, clock: Clock) -> None:
        """For test kits: see `rehearsal`."""
        self._inbox, self._clock = inbox, clock

    async def answer(self, command: CommandMessage) -> Answer:
        """The answer to a command, within the limits of a reply. Raises nothing but the cancellation of its task."""
        answer = await self._answer(command)
        outcome = _within_limits(answer.outcome)
        return answer if outcome is answer.outcome else Answer(outcome, answer.replayed)

    async def _answer(self, command: CommandMessage) -> Answer:
        expired = command.deadline_ms + self._clock_skew_ms < self._clock()
        try:
            async with contextlib.AsyncExitStack() as stay:
                entry = await stay.enter_async_context(self._inbox.enter(command, expired=expired))
                if not isinstance(entry.verdict, Proceed):
                    return answer_to(entry.verdict)
                try:
                    return await self._proceed(command, entry, entry.verdict)
                except _ThreadLeft as left:
                    leaving = asyncio.create_task(_leave_after(left.ended, stay.pop_all()))
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)
                    raise
        except asyncio.CancelledError as error:
            _raise_if_ours(error)
            return self._inbox_failed(command, error)
        except Exception as error:  # Whatever the inbox's surroundings raise, the coordinator needs an answer.
            return self._inbox_failed(command, error)

    def _inbox_failed(self, command: CommandMessage, error: BaseException) -> Answer:
        log_failed(INBOX_FAILED, command, error)
        return Answer(Failed("inbox_unavailable", type(error).__name__))

    async def _proceed(self, command: CommandMessage, entry: Entry, verdict: Proceed) -> Answer:
        limit = asyncio.timeout(self._seconds_left(command))
        try:
            async with limit:
                outcome = await self._outcome(command, entry, verdict)
            return outcome if isinstance(outcome, Answer) else await entry.record(outcome)
        except asyncio.CancelledError as error:
            _raise_if_ours(error)
            return self._handler_failed(command, entry, error)
        except Retry as retry:
            return Answer(Failed(retry.code, retry.reason, _nothing_left(command, entry), retry.after_ms))
        except ResultTooLarge as error:
            self._handler_failed(command, entry, error)
            return Answer(Failed(error.code, str(error), _nothing_left(command, entry), retryable=False))
        except Exception as error:  # Handlers are other people's code: anything can come out of them.
            answer = self._handler_failed(command, entry, error)
            if limit.expired():
                return Answer(Failed("deadline_exceeded", "stopped at its deadline", _nothing_left(command, entry)))
            return answer

    def _handler_failed(self, command: CommandMessage, entry: Entry, error: BaseException) -> Answer:
        log_failed(HANDLER_FAILED, command, error)
        return Answer(Failed(type(error).__name__, rolled_back=_nothing_left(command, entry)))

    async def _outcome(self, command: CommandMessage, entry: Entry, verdict: Proceed) -> Recorded | Answer:
        match command.direction:
            case "do":
                return await self._act(command, entry, verdict)
            case "undo":
                return await self._compensate(command, entry, verdict)
            case "probe":
                return await self._probe(command, entry, verdict)

    def _seconds_left(self, command: CommandMessage) -> float | None:
        # A transaction that nobody waits for any more only keeps others from its rows. Without one the handler may
        # finish: interrupting it would leave its effect half done.
        if command.direction == "undo" or not self._inbox.hands_transaction:
            return None
        return max(0, command.deadline_ms + self._clock_skew_ms - self._clock()) / 1000

    async def _act(self, command: CommandMessage, entry: Entry, verdict: Proceed) -> Recorded | Answer:
        contract = self._contracts.get(command.action)
        if contract is None or contract.action is None:
            reason = f"{command.participant} has no handler for {command.action}"
            return _refused("unknown_command", reason, verdict)
        try:
            body = decode_body(command.body, contract.type)
        except MalformedMessage as error:
            return _refused("malformed_command", _tellable(error), verdict)
        context = Context(command, transaction=entry.transaction)
        try:
            result = await self._call(contract.action, body, context)
        except Rejected as rejected:
            # Within the limits before it is kept, too.
            return _within_limits(RejectedOutcome(rejected.code, rejected.reason))
        return Succeeded(_encoded(result, contract))

    async def _compensate(self, command: CommandMessage, entry: Entry, verdict: Proceed) -> Succeeded | Answer:
        contract = self._contracts.get(command.action)
        if contract is None or contract.compensation is None:
            reason = f"{command.participant} has no compensation for {command.action}"
            # A contract without a compensation gets an undo only to close its key. Here it was done after all: that is
            # for a person, and asking again changes nothing. An action that nobody knows may be a release away.
            final = contract is not None and not contract.compensatable
            code = "not_compensatable" if final else "unknown_command"
            return Answer(Failed(code, reason, entry.rolled_back, retryable=not final))
        try:
            undo = decode_body(command.body, UndoBody, check=check_undo_body)
            body = decode_body(bytes(undo.command), contract.type, field="body.command")
            # Our own record of the result comes first: the coordinator may never have heard of it.
            known = bytes(undo.result if verdict.result is None else verdict.result)
            result = None if known == b"null" else decode_body(known, contract.result_type, field="body.result")
        except MalformedMessage as error:
            return Answer(Failed("malformed_command", _tellable(error), entry.rolled_back))
        context = Context(command, transaction=entry.transaction, action_was_done=verdict.action_was_done)
        try:
            await self._call(contract.compensation, body, result, context)
        except Rejected as rejected:
            # There is no business no to undoing: somebody has to look at it.
            return Answer(Failed(rejected.code, rejected.reason, entry.rolled_back))
        return Succeeded()

    async def _probe(self, command: CommandMessage, entry: Entry, verdict: Proceed) -> Recorded | Answer:
        contract = self._contracts.get(command.action)
        if contract is None or contract.probe is None:
            told = unprobed(verdict)
            return Answer(told) if isinstance(told, Failed) else told
        try:
            body = decode_body(command.body, contract.type)
        except MalformedMessage as error:
            return Answer(Failed("malformed_command", _tellable(error)))
        try:
            found = await self._call(contract.probe, body, Context(command, transaction=entry.transaction))
        except Rejected as rejected:
            # There is no business no to a question; that nothing was done is told by what a probe returns.
            return Answer(Failed(rejected.code, rejected.reason))
        return _found(found, contract)

    async def _call(self, handler: Handler, *arguments: Any) -> Any:
        if handler.is_async:
            return await handler.function(*arguments)
        thread: Future[Any] = self._threads.submit(copy_context().run, handler.function, *arguments)
        ended = asyncio.wrap_future(thread)
        try:
            # Unlike awaiting the future, this leaves it alone when the task is cancelled.
            await asyncio.wait({ended})
        except asyncio.CancelledError:
            if not thread.cancel():
                await _wait_for_thread(ended)
            raise
        return ended.result()


async def _wait_for_thread(ended: "asyncio.Future[Any]") -> None:
    try:
        await asyncio.wait({ended})
    except asyncio.CancelledError:
        raise _ThreadLeft(ended) from None
    # Asked for, so that asyncio doesn't complain of an error that nobody looked at.
    ended.exception()


async def _leave_after(ended: "asyncio.Future[Any]", stay: contextlib.AsyncExitStack) -> None:
    """Gives the key back when the thread has ended; never, if the event loop ends before that."""
    await _wait_for_thread(ended)
    await stay.aclose()


def _refused(code: str, reason: str, verdict: Proceed) -> Recorded | Answer:
    """The answer to an action that can't be run: a rejection only if nothing can have been done before."""
    if verdict.begun_before:
        return Answer(Failed(code, reason, rolled_back=False, retryable=False))
    return RejectedOutcome(code, reason)


def _found(found: Any, contract: Contract) -> Recorded:
    """What a probe says: the action's result, or None; of an action without a result whether it was done."""
    if contract.result_type is not type(None):
        return NOT_DONE if found is None else Succeeded(_encoded(found, contract))
    if not isinstance(found, bool):
        name = contract.type.__name__
        raise WrongResult(f"{name}: it has no result, so its probe returns True or False, not {type(found).__name__}")
    return Succeeded() if found else NOT_DONE


def _nothing_left(command: CommandMessage, entry: Entry) -> bool:
    # Of a probe the coordinator would take it for the action, of which nobody knows what it left.
    return command.direction != "probe" and entry.rolled_back


T = TypeVar("T", bound=ReplyOutcome)


def _within_limits(outcome: T) -> T:
    """The same with its words cut: what handlers write must not grow a reply over the limits of the protocol."""
    if isinstance(outcome, Succeeded):
        return outcome
    code, reason = outcome.code[:CODE_CHARACTERS_MAX], outcome.reason[:REASON_CHARACTERS_MAX]
    if (code, reason) == (outcome.code, outcome.reason):
        return outcome
    return msgspec.structs.replace(outcome, code=code, reason=reason)


def _encoded(result: Any, contract: Contract) -> msgspec.Raw:
    """The result as JSON, read back once: structs don't check themselves, and others rely on it for days."""
    try:
        encoded = encode(result)
        decode_body(encoded, contract.result_type, field="result")
    except LimitExceeded as error:
        raise ResultTooLarge(str(error)) from error
    except MalformedMessage as error:
        raise WrongResult(f"{contract.type.__name__}: {_mismatch(result, contract)}{_tellable(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongResult(f"{contract.type.__name__}: {type(result).__name__} can't be written as JSON") from error
    return msgspec.Raw(encoded)


def _mismatch(result: Any, contract: Contract) -> str:
    """That it is of another type altogether, if it is; of what contains or combines types only the parts are told."""
    expected = contract.result_type
    if not isinstance(expected, type) or isinstance(result, expected):
        return ""
    wanted = "None" if expected is type(None) else expected.__name__
    return f"expected {wanted}, got {type(result).__name__}; "


def _tellable(error: MalformedMessage) -> str:
    problem = error.problem if error.problem.startswith(_TELLABLE) or isinstance(error, LimitExceeded) else "not valid"
    return f"{error.field}: {problem}"


def _raise_if_ours(error: asyncio.CancelledError) -> None:
    """Raises the cancellation if somebody cancelled this task; a lost connection can look like one."""
    task = asyncio.current_task()
    if task is None or task.cancelling() > 0:
        raise error
