"""Before a deploy: which compensations sagas in motion may need, and whether anybody still serves them."""

import msgspec

from countermand.coordinator.operate.definitions.in_flight import in_flight, in_flight_document, in_words
from countermand.coordinator.operate.participants import ALIVE_MS
from countermand.coordinator.ports import Announced
from countermand.schemas.definition import Definition, SequenceNode, StepNode
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage

NOW_MS = 1_700_000_000_000


def order(version: int, *steps: StepNode) -> Definition:
    return Definition(1, "order", version, SequenceNode(steps))


def says(participant: str, *actions: str, instance: str = "one", ago_ms: int = 0) -> Announced:
    told = tuple(AnnouncedAction(each, compensation=True) for each in actions)
    return Announced(AnnounceMessage(participant, instance, told), NOW_MS - ago_ms)


RESERVE, PAY = StepNode("r", "stock", "reserve"), StepNode("p", "bank", "pay")
READ = StepNode("q", "stock", "look", compensation=False, because="reads")
DECIDE = StepNode("d", "bank", "capture", kind="pivot")
DEFINITIONS = [order(1, RESERVE, PAY, READ, DECIDE), order(2, RESERVE), order(3, PAY)]


def test_each_undo_contract_is_counted_over_all_versions() -> None:
    """Only of definitions with sagas in motion, and only what can be undone."""
    found = in_flight(DEFINITIONS, {"order@1": 3, "order@2": 4, "order@3": 0}, [says("stock", "reserve")], NOW_MS)
    assert [(each.participant, each.action, each.count, each.service) for each in found.contracts] == [
        ("bank", "pay", 3, "silent"),
        ("stock", "reserve", 7, "served"),
    ]
    assert not any(each.missing for each in found.contracts)
    assert in_flight_document(found)["contracts"][1]["sagas"] == {"order@1": 3, "order@2": 4}


def test_who_serves_it() -> None:
    """What nobody alive announces any more is missing; of those who never spoke nothing is known."""

    def service(*announced: Announced) -> tuple[str, bool, str]:
        (found,) = in_flight(DEFINITIONS, {"order@2": 1}, announced, NOW_MS).contracts
        return found.service, found.missing, in_words(found)

    assert service(says("stock", "reserve"))[:2] == ("served", False)
    dropped = service(says("stock", "take"))
    assert dropped[:2] == ("dropped", True)
    assert dropped[2] == (
        "stock: the compensation of reserve, which up to 1 saga in motion (order@2) may need, is announced by no "
        "process any more; keep its handler until they have ended"
    )
    assert service(says("stock", "reserve"), says("stock", "take", instance="two"))[:2] == ("partly", True)
    assert service(says("stock", "reserve", ago_ms=ALIVE_MS + 1))[:2] == ("gone", True)
    assert service(says("bank", "pay"))[:2] == ("silent", False)
    bare = Announced(AnnounceMessage("stock", "one", (AnnouncedAction("reserve", compensation=False),)), NOW_MS)
    assert service(bare)[:2] == ("dropped", True)


def test_a_definition_that_is_lost_is_told() -> None:
    found = in_flight(DEFINITIONS, {"gone@1": 2}, [], NOW_MS)
    assert (found.contracts, found.lost) == ((), {"gone@1": 2})
    assert msgspec.json.encode(in_flight_document(found))
