"""When the next attempt is made."""

import hashlib
from typing import Final

from countermand.schemas.definition import RetryPolicy
from countermand.schemas.identifiers import Direction

# A participant may ask for more patience than the policy has, but not for ever.
RETRY_AFTER_MAX_MS: Final = 24 * 60 * 60 * 1000


def delay_ms(
    policy: RetryPolicy,
    saga_id: str,
    step: str,
    direction: Direction,
    attempt: int,
    asked_for_ms: int | None = None,
    *,
    forgiven: int = 0,
) -> int:
    """The pause after a failed attempt, in milliseconds: exponential, capped, with jitter from a hash.

    Attempts up to `forgiven` don't count. The jitter is taken away rather than added, so that the cap holds; it is the
    same whenever it is computed.
    """
    # Sixty-four doublings exceed every cap; a higher power would only make a large integer.
    grown: int = policy.backoff_ms * policy.multiplier ** min(attempt - forgiven - 1, 64)
    pause = min(grown, policy.backoff_max_ms)
    digest = hashlib.blake2b(f"{saga_id}/{step}/{direction}/{attempt}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    pause -= int(pause * share * policy.jitter_percent / 100)
    return max(pause, min(asked_for_ms or 0, RETRY_AFTER_MAX_MS))


def may_retry(policy: RetryPolicy, attempt: int) -> bool:
    """Whether the policy allows another attempt after this one."""
    return policy.attempts_max is None or attempt < policy.attempts_max
