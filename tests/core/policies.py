"""Random retry policies: small ones, so that sagas get far."""

from hypothesis import strategies as st

from countermand.schemas.definition import RetryPolicy


def _policies(*, endless: bool) -> st.SearchStrategy[RetryPolicy | None]:
    """None at all is the kind's own one."""
    attempts = st.integers(1, 3)
    return st.none() | st.builds(
        RetryPolicy,
        attempts_max=st.none() | attempts if endless else attempts,
        backoff_ms=st.integers(0, 500),
        backoff_max_ms=st.integers(500, 2_000),
        multiplier=st.integers(1, 3),
        jitter_percent=st.sampled_from([0, 20, 100]),
    )


BOUNDED = _policies(endless=False)
ENDLESS = _policies(endless=True)
