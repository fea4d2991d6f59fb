"""How long to wait before trying the broker again."""

import random

FIRST_S = 0.1  # A dropped connection is usually back at once.
UNREACHABLE_CAP_S = 5.0  # A broker takes seconds to start; more often than this only fills its log.
# The broker answers, but what was opened died young. One cause is a message that no client can decode: the
# broker moves it away after its delivery limit, so getting there soon matters more than being quiet.
SHORT_LIVED_CAP_S = 1.0
STABLE_S = 5.0  # Whatever lived this long was healthy: the next loss starts from the first wait again.


class Backoff:
    """Exponential waits with jitter, so that many clients of one broker don't come back in step."""

    def __init__(self) -> None:
        self._failures = 0

    def next_s(self, *, lived_s: float | None) -> float:
        """The next wait. `lived_s` says how long the last one worked; None: it never opened."""
        if lived_s is not None and lived_s >= STABLE_S:
            self._failures = 0
        cap_s = UNREACHABLE_CAP_S if lived_s is None else SHORT_LIVED_CAP_S
        wait_s = min(cap_s, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter is no secret.
