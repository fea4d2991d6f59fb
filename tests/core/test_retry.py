"""When the next attempt is made: pauses grow, stay under their cap, and are the same whenever they are computed."""

from hypothesis import given
from hypothesis import strategies as st

from core.story import Story, step
from countermand.coordinator.core.retry import RETRY_AFTER_MAX_MS, delay_ms, may_retry
from countermand.schemas.definition import RETRY_COMPENSATION, RETRY_FORWARD, RetryPolicy

policies = st.builds(
    RetryPolicy,
    attempts_max=st.none() | st.integers(1, 50),
    backoff_ms=st.integers(0, 60_000),
    backoff_max_ms=st.integers(60_000, 600_000),
    multiplier=st.integers(1, 10),
    jitter_percent=st.integers(0, 100),
)


def pauses(policy: RetryPolicy, attempts: int, *, saga_id: str = "s1") -> list[int]:
    return [delay_ms(policy, saga_id, "charge", "do", attempt) for attempt in range(1, attempts + 1)]


def test_pauses_grow_to_their_cap() -> None:
    """Without jitter: the first pause, then twice as long each time, then the cap for ever."""
    policy = RetryPolicy(backoff_ms=1_000, backoff_max_ms=10_000, multiplier=2, jitter_percent=0)
    assert pauses(policy, 6) == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    assert delay_ms(policy, "s1", "charge", "do", 1_000_000) == 10_000


@given(policy=policies, attempt=st.integers(1, 1_000_000), saga_id=st.text(min_size=1, max_size=20))
def test_jitter_only_takes_away_and_never_more_than_its_share(policy: RetryPolicy, attempt: int, saga_id: str) -> None:
    """The cap holds; the pause is the same every time; it lies within what the policy allows."""
    pause = delay_ms(policy, saga_id, "charge", "do", attempt)
    whole = min(policy.backoff_ms * policy.multiplier ** min(attempt - 1, 64), policy.backoff_max_ms)
    assert whole - whole * policy.jitter_percent / 100 <= pause <= whole
    assert pause == delay_ms(policy, saga_id, "charge", "do", attempt)


def test_jitter_spreads_sagas_steps_directions_and_attempts() -> None:
    """A thousand sagas that failed together don't come back together."""
    policy = RetryPolicy(backoff_ms=10_000, backoff_max_ms=10_000, jitter_percent=50)
    by_saga = {delay_ms(policy, f"s{number}", "charge", "do", 1) for number in range(1_000)}
    assert len(by_saga) > 850
    assert min(by_saga) < 5_100
    assert max(by_saga) > 9_900
    assert len(set(pauses(policy, 20))) > 15
    assert delay_ms(policy, "s1", "charge", "do", 1) != delay_ms(policy, "s1", "charge", "undo", 1)
    assert delay_ms(policy, "s1", "charge", "do", 1) != delay_ms(policy, "s1", "refund", "do", 1)


def test_a_participant_may_ask_for_more_patience_but_not_for_ever() -> None:
    """What it asks for counts where it is longer than the policy's own pause, and is bounded."""
    policy = RetryPolicy(backoff_ms=1_000, jitter_percent=0)
    assert delay_ms(policy, "s1", "charge", "do", 1, 30_000) == 30_000
    assert delay_ms(policy, "s1", "charge", "do", 1, 10) == 1_000
    assert delay_ms(policy, "s1", "charge", "do", 1, 10**15) == RETRY_AFTER_MAX_MS
    assert delay_ms(policy, "s1", "charge", "do", 1, None) == 1_000


def test_the_first_attempt_counts() -> None:
    """Three attempts are two retries; without a number there is always another one."""
    assert [may_retry(RetryPolicy(attempts_max=3), attempt) for attempt in (1, 2, 3)] == [True, True, False]
    assert may_retry(RETRY_FORWARD, 10**6)


def test_a_compensation_is_tried_for_hours() -> None:
    """The default policy of a compensation has the patience that its comment says: about two and a half hours."""
    last = RETRY_COMPENSATION.attempts_max
    assert last is not None
    whole_s = sum(delay_ms(RETRY_COMPENSATION, "s1", "charge", "undo", attempt) for attempt in range(1, last)) / 1_000
    assert 2 * 3_600 < whole_s < 3 * 3_600


def test_a_pause_that_was_asked_for_is_when_the_saga_wakes_up() -> None:
    """The reply's wish becomes the saga's one wake-up."""
    story = Story(step("reserve"))
    story.fails("reserve", retry_after_ms=7_000)
    assert story.decisions[-1].wake_at_ms == story.now_ms + 7_000
