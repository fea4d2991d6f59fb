"""The short form of the attacks; `python -m amqp.fuzz` is the long one."""

from amqp.fuzz import run

SEED = 20
SECONDS = 3.0


async def test_a_few_seconds_of_attacks() -> None:
    """A well-behaved client notices nothing, memory stays within bounds, the log stays clean."""
    fuzz = await run(SECONDS, SEED)
    assert fuzz.conversations > 20
    assert fuzz.messages > 100
