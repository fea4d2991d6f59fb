"""The exit codes of `countermand`: documented in `countermand --help` and in docs/cli.md, and never changed."""

from typing import Final

DONE: Final = 0
FAULT: Final = 1  # Of ours.
USAGE: Final = 2  # Or settings.
NOT_FOUND: Final = 3
REFUSED: Final = 4  # The coordinator said no, and why.
PARTLY: Final = 5  # Of many, some were refused.
UNREACHABLE: Final = 6
COMPENSATED: Final = 8
STUCK: Final = 9
WARNINGS: Final = 10  # Of `countermand doctor`: it works, and something is wrong.
CRITICAL: Final = 11  # Of `countermand doctor`: it doesn't work, or can lose a saga.
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130
