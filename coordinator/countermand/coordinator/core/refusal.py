"""Why a request is refused: what `weigh` answers in place of what it would do."""

import msgspec


class Refusal(msgspec.Struct, frozen=True):
    """Why not. `code` is stable; `problem` names the field or the state, and says what can be done instead."""

    code: str
    problem: str
