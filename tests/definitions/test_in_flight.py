"""Before a deploy: which compensations sagas in motion may need, and whether anybody still serves them."""

import msgspec

from countermand.coordinator.operate.definitions.in_flight import in_flight, in_flight_document, in_words
from countermand.coordinator.operate.participants import ALIVE_MS
from countermand.coordinator.ports import Announced
from countermand.schemas.definition import ChildNode, Definition, LockNode, Node, SequenceNode, StepNode
from countermand.schemas.messages import AnnouncedAction, AnnounceMessage

NOW_MS = 1_700_000_000_000


def order(version: int, *nodes: Node, name: str = "order") -> Definition:
    return Definition(1, name, version, SequenceNode(nodes))


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


def test_what_migrated_sagas_may_need_counts_too() -> None:
    """A step that was done under another version is undone as that one said."""
    found = in_flight(DEFINITIONS, {"order@2": 4}, [], NOW_MS, {"bank/refund": 2, "stock/reserve": 1})
    assert {(each.participant, each.action): each.sagas for each in found.contracts} == {
        ("bank", "refund"): {"migrated since": 2},
        ("stock", "reserve"): {"order@2": 4, "migrated since": 1},
    }


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


def needed(*definitions: Definition, in_motion: dict[str, int]) -> dict[str, dict[str, int]]:
    found = in_flight(definitions, in_motion, [], NOW_MS)
    return {f"{each.participant}.{each.action}": each.sagas for each in found.contracts}


def test_what_child_sagas_may_need_counts_for_their_parents() -> None:
    """A child that has completed is in motion no more, and is undone all the same; so are its own children."""
    parent = order(1, ChildNode("c", "trip"))
    trip = [order(version, ChildNode("d", "pay", version=2), name="trip") for version in (1, 2)]
    pay = [order(version, StepNode("s", "bank", f"pay{version}"), name="pay") for version in (1, 2)]
    known = (parent, *trip, *pay)
    assert needed(*known, in_motion={"order@1": 3}) == {"bank.pay2": {"order@1": 3}}
    both = needed(*known, in_motion={"order@1": 3, "pay@1": 5, "pay@2": 1})
    assert both == {"bank.pay1": {"pay@1": 5}, "bank.pay2": {"order@1": 3, "pay@2": 1}}
    newest = order(1, ChildNode("c", "pay"))
    assert needed(newest, *pay, in_motion={"order@1": 1}) == {
        "bank.pay1": {"order@1": 1},
        "bank.pay2": {"order@1": 1},
    }


def test_a_child_that_is_never_undone_needs_nothing() -> None:
    pay = order(1, PAY, name="pay")
    for child in (
        ChildNode("c", "pay", kind="retriable"),
        ChildNode("c", "pay", kind="pivot"),
        ChildNode("c", "pay", compensation=False, because="x"),
        ChildNode("c", "unknown"),
    ):
        assert needed(order(1, child), pay, in_motion={"order@1": 1}) == {}


def test_sagas_that_are_each_others_children_are_walked_once() -> None:
    one, other = order(1, RESERVE, ChildNode("c", "other"), name="one"), order(1, ChildNode("c", "one"), name="other")
    assert needed(one, other, in_motion={"other@1": 2}) == {"stock.reserve": {"other@1": 2}}


def test_the_coordinator_itself_is_always_there() -> None:
    """Child sagas and locks are asked of it; nobody has to announce that."""
    held = order(1, LockNode("l", "order", key="k"), ChildNode("c", "pay"), RESERVE)
    assert needed(held, in_motion={"order@1": 1}) == {"stock.reserve": {"order@1": 1}}
