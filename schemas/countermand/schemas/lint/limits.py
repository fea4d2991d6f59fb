"""What can be judged of a definition's head and of one step alone: names, durations, retries, literals."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from countermand.schemas.definition import COORDINATOR, Definition, RetryPolicy, StepNode
from countermand.schemas.errors import InvalidIdentifier
from countermand.schemas.identifiers import checked_name, checked_slug
from countermand.schemas.lint.rules import Finding
from countermand.schemas.template import key_text

DAY_MS: Final = 24 * 60 * 60 * 1000

TIMEOUT_MS_MAX: Final = 30 * DAY_MS  # A longer wait for a machine's reply is a mistake of units.
DEADLINE_MS_MAX: Final = 366 * DAY_MS
ATTEMPTS_MAX: Final = 1_000_000
MULTIPLIER_MAX: Final = 10
INTEGER_MAX: Final = 2**53 - 1  # What every language's JSON parser reads exactly.

# Pauses stop growing long before this; what comes after it is at the policy's longest pause.
PAUSES_COUNTED_MAX: Final = 64

_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d+)?)?\Z")


def header_findings(definition: Definition) -> Iterator[Finding]:
    """What is wrong with the definition's own fields."""
    yield from identifier_findings("definition-name", "$.name", definition.name, checked_slug)
    if not 1 <= definition.version <= INTEGER_MAX:
        yield Finding("definition-version", "$.version", "versions are whole numbers that begin with 1")
    deadline = definition.deadline_ms
    if deadline is not None and not 0 < deadline <= DEADLINE_MS_MAX:
        message = f"{deadline} ms; a deadline is above 0 and at most {DEADLINE_MS_MAX // DAY_MS} days"
        yield Finding("deadline", "$.deadline_ms", message)


def name_findings(step: StepNode, path: str) -> Iterator[Finding]:
    """A step's names of others that can't be used as such."""
    yield from identifier_findings("participant-name", f"{path}.participant", step.participant, checked_slug)
    if step.participant == COORDINATOR:
        message = f"{COORDINATOR!r} is the coordinator itself; for a child saga or a lock write such a node"
        yield Finding("reserved-name", f"{path}.participant", message)
    yield from identifier_findings("action-name", f"{path}.action", step.action, checked_name)


def duration_findings(step: StepNode, path: str, deadline_ms: int | None) -> Iterator[Finding]:
    """Timeouts and retries out of their ranges, or longer than the saga has."""
    found = list(_ranges(step, path))
    yield from found
    # After the pivot the deadline turns nothing back; and of numbers out of range nothing can be worked out.
    if not found and deadline_ms is not None and deadline_ms > 0 and step.kind != "retriable":
        yield from _over_deadline(step, path, deadline_ms)


def literal_findings(template: Any, path: str) -> Iterator[Finding]:
    """Literals that somebody would read as something else."""
    match template:
        case dict():
            for key, value in template.items():
                yield from literal_findings(value, path + key_text(key))
        case list() | tuple():
            for index, value in enumerate(template):
                yield from literal_findings(value, f"{path}[{index}]")
        case int() if not isinstance(template, bool) and abs(template) > INTEGER_MAX:
            message = "a whole number beyond 2^53 is not exact in every language; write it as text"
            yield Finding("number-too-large", path, message)
        case str() if _DATE_AND_TIME.match(template):
            message = f"{template!r} has no zone, so it is no certain moment; write {template + 'Z'!r} if it is UTC"
            yield Finding("datetime-without-zone", path, message)


def identifier_findings(rule: str, path: str, value: str, check: Callable[[str, str], str]) -> Iterator[Finding]:
    """A name that can't be used as such."""
    try:
        check(path, value)
    except InvalidIdentifier as error:
        yield Finding(rule, path, str(error).removeprefix(f"{path}: "))


def _ranges(step: StepNode, path: str) -> Iterator[Finding]:
    for field, timeout in (("timeout_ms", step.timeout_ms), ("undo_timeout_ms", step.undo_timeout_ms)):
        if not 0 < timeout <= TIMEOUT_MS_MAX:
            message = f"{timeout} ms; a timeout is above 0 and at most {TIMEOUT_MS_MAX // DAY_MS} days"
            yield Finding("timeout", f"{path}.{field}", message)
    if step.retry is not None:
        yield from _retry(step.retry, f"{path}.retry", unbounded=step.kind == "retriable")
    if step.undo_retry is not None:
        yield from _retry(step.undo_retry, f"{path}.undo_retry", unbounded=True)


def _retry(retry: RetryPolicy, path: str, *, unbounded: bool) -> Iterator[Finding]:
    if retry.attempts_max is None:
        if not unbounded:
            message = "only a retriable step and a compensation may be tried without end; give a number"
            yield Finding("retry-unbounded", f"{path}.attempts_max", message)
    elif not 1 <= retry.attempts_max <= ATTEMPTS_MAX:
        message = f"{retry.attempts_max}; the first attempt counts too, so at least 1 and at most {ATTEMPTS_MAX}"
        yield Finding("retry", f"{path}.attempts_max", message)
    if not 0 <= retry.backoff_ms <= retry.backoff_max_ms:
        message = f"{retry.backoff_ms} ms; expected 0 to backoff_max_ms, which is {retry.backoff_max_ms}"
        yield Finding("retry", f"{path}.backoff_ms", message)
    if retry.backoff_max_ms > TIMEOUT_MS_MAX:
        message = f"{retry.backoff_max_ms} ms; at most {TIMEOUT_MS_MAX // DAY_MS} days"
        yield Finding("retry", f"{path}.backoff_max_ms", message)
    if not 1 <= retry.multiplier <= MULTIPLIER_MAX:
        yield Finding("retry", f"{path}.multiplier", f"multiplier {retry.multiplier}; expected 1 to {MULTIPLIER_MAX}")
    if not 0 <= retry.jitter_percent <= 100:
        yield Finding("retry", f"{path}.jitter_percent", f"jitter {retry.jitter_percent}; expected 0 to 100")


def _over_deadline(step: StepNode, path: str, deadline_ms: int) -> Iterator[Finding]:
    if step.timeout_ms >= deadline_ms:
        message = (
            f"one attempt may take {step.timeout_ms} ms, and the whole saga has {deadline_ms} ms: the deadline comes "
            "first; shorten timeout_ms or raise deadline_ms"
        )
        yield Finding("timeout-over-deadline", f"{path}.timeout_ms", message)
    # Only a policy that somebody wrote: the default is meant for any deadline.
    elif step.retry is not None and (longest_ms := longest_action_ms(step, step.retry)) > deadline_ms:
        message = (
            f"all {step.retry.attempts_max} attempts may take {longest_ms} ms, and the whole saga has {deadline_ms} ms:"
            " the last ones are never made; allow fewer attempts or raise deadline_ms"
        )
        yield Finding("retry-over-deadline", f"{path}.retry", message)


def longest_action_ms(step: StepNode, retry: RetryPolicy) -> int:
    """How long a step's action takes if every attempt times out; pauses at their longest, without jitter."""
    attempts = retry.attempts_max or 1
    pauses: list[int] = []
    pause_ms = retry.backoff_ms
    for _ in range(min(attempts - 1, PAUSES_COUNTED_MAX)):
        pauses.append(min(pause_ms, retry.backoff_max_ms))
        pause_ms *= retry.multiplier
    rest_ms = (attempts - 1 - len(pauses)) * (pauses[-1] if pauses else 0)
    return attempts * step.timeout_ms + sum(pauses) + rest_ms
