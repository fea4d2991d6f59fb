"""What the store says about the orders while they are on their way."""

from collections import deque
from typing import Final, Literal

from countermand.coordinator.core.state import Saga, StepState
from countermand.coordinator.ports import SagaStore

Place = Literal["waiting", "running", "compensating", "stuck", "completed", "compensated"]

# Over less than this the number jumps with every batch; over more it hides the second in which nobody works.
RATE_WINDOW_S: Final = 1.0
# As many marks as fit beside the number on a narrow terminal.
RATES_MAX: Final = 40


class Census:
    """Where each order is, and how many steps have been taken, as of the last look.

    A saga that has ended is not asked for again, so that a look stays as cheap as the few sagas in motion.
    """

    def __init__(self, order_ids: list[str]) -> None:
        self.places: dict[str, Place] = dict.fromkeys(order_ids, "waiting")
        # Steps per second at each look, over the last second.
        self.rates: deque[float] = deque(maxlen=RATES_MAX)
        self._steps: dict[str, int] = {}
        self._looks: deque[tuple[float, int]] = deque()

    @property
    def steps(self) -> int:
        return sum(self._steps.values())

    @property
    def in_motion(self) -> list[str]:
        return [saga_id for saga_id, place in self.places.items() if place in ("running", "compensating")]

    async def look(self, store: SagaStore, placed: set[str], at_s: float) -> None:
        """Asks the store for those that have been placed and haven't ended. Raises StoreUnavailable."""
        asked = [saga_id for saga_id in placed if self.places[saga_id] not in ("completed", "compensated")]
        for loaded in await store.load(asked) if asked else []:
            if loaded is not None:
                self._note(loaded.saga)
        self._looks.append((at_s, self.steps))
        while at_s - self._looks[0][0] > RATE_WINDOW_S and len(self._looks) > 2:
            self._looks.popleft()
        (since_s, before), (_, now) = self._looks[0], self._looks[-1]
        self.rates.append((now - before) / (at_s - since_s) if at_s > since_s else 0.0)

    def _note(self, saga: Saga) -> None:
        state = saga.state
        self.places[state.saga_id] = _place(saga)
        self._steps[state.saga_id] = sum(map(_taken, state.steps.values()))


def _place(saga: Saga) -> Place:
    state = saga.state
    if state.stuck is not None:
        return "stuck"
    if state.phase in ("running", "compensating", "completed"):
        return state.phase
    return "compensated"


def _taken(step: StepState) -> int:
    return sum(track is not None and track.status not in ("asked", "waiting") for track in (step.do, step.undo))
