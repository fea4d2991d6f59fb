"""What a handler raises to say how it went, and what participants get wrong themselves.

Whatever else a handler raises is a failure. It is told to the coordinator as the class's name and nothing more: the
text of an exception often holds the data that it stumbled over.
"""

from countermand.schemas.errors import CountermandError, DefinitionError
from countermand.schemas.identifiers import checked_name

# A reason is a sentence for a person. It is stored, shown and sent again with every replay.
REASON_CHARACTERS_MAX = 1_000


class Rejected(Exception):
    """A business no: nothing was done for this key by any attempt, and nothing will be.

    `code` is stable, for machines (`out_of_stock`); `reason` is for people and is shown to operators.

    Raises:
        InvalidIdentifier: the code isn't 1 to 64 lower-case letters, digits or '_'.
    """

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = checked_name("code", code)
        self.reason = reason[:REASON_CHARACTERS_MAX]


class Retry(Exception):
    """Not now: ask again, not before `after_s` seconds if that is given. It uses up one attempt of the step."""

    def __init__(self, after_s: float | None = None, *, code: str = "retry", reason: str = "") -> None:
        super().__init__(code, reason)
        self.after_ms = None if after_s is None else max(0, round(after_s * 1000))
        self.code = checked_name("code", code)
        self.reason = reason[:REASON_CHARACTERS_MAX]


class UnsafeCleanUp(CountermandError):
    """A clean-up that could delete what still protects a saga; says which mark is safe."""

    code = "unsafe_clean_up"


class TransactionEnded(CountermandError):
    """A handler ended the transaction that it was lent. Leave `commit` and `rollback` to the inbox."""

    code = "transaction_ended"


class WrongResult(CountermandError):
    """A handler returned something that isn't the result its contract names; says where."""

    code = "wrong_result"


class ResultTooLarge(CountermandError):
    """A handler's result is over the protocol's limits. Doing it again never helps."""

    code = "result_too_large"


__all__ = ["Rejected", "Retry", "UnsafeCleanUp", "TransactionEnded", "WrongResult", "ResultTooLarge", "DefinitionError"]
