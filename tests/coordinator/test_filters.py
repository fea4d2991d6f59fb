"""The filter language: what can be said, what is refused and how, and that text and filter are the same thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countermand.coordinator.operate.durations import DURATION_MS_MAX, in_words, milliseconds, short, written
from countermand.coordinator.operate.filters import CAUSES, PHASES, Filter, FilterError, describe, parse, to_text

SLUGS = st.from_regex(r"\A[a-z][a-z0-9_\-]{0,20}\Z")
DURATIONS = st.none() | st.integers(1, DURATION_MS_MAX)
FILTERS = st.builds(
    Filter,
    phase=st.none() | st.sampled_from(PHASES),
    definition=st.none() | SLUGS | st.builds("{}@{}".format, SLUGS, st.integers(1, 2**31 - 1)),
    stuck=st.none() | st.sampled_from(("any", *CAUSES)),
    step=st.none() | st.just("") | st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z"),
    error=st.none() | st.text(max_size=64),
    tags=st.lists(st.from_regex(r"\A[A-Za-z0-9._:=@/\-]{1,64}\Z"), unique=True, max_size=16).map(tuple),
    paused=st.booleans(),
    age_over_ms=DURATIONS,
    age_under_ms=DURATIONS,
    since_over_ms=DURATIONS,
    since_under_ms=DURATIONS,
    updated_over_ms=DURATIONS,
    updated_under_ms=DURATIONS,
    approval=st.none() | st.text(min_size=1, max_size=64),
    assignee=st.none() | st.text(min_size=1, max_size=256),
)


@given(FILTERS)
def test_text_and_filter_are_the_same(filter_: Filter) -> None:
    """Whatever a filter asks for can be written, and reads as the same filter."""
    assert parse(to_text(filter_)) == filter_


@given(st.text(max_size=80) | st.text(alphabet='stuck:any "\\ <>', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text does anything else; what is read can be written again."""
    try:
        found = parse(text)
    except FilterError as error:
        refused = str(error)
    else:
        assert parse(to_text(found)) == found
        return
    assert "; expected " in refused


def test_conditions_are_read() -> None:
    """Each kind, in any order, with any spaces between them."""
    text = """ phase:compensating  definition:order@03 stuck:any step:ship error:"no \\"real\\" money \\\\ today"
        tag:vip tag:region=eu tag:vip hold:paused age:>2h age:<1d12h since:>90s updated:<500ms """
    assert parse(text) == Filter(
        phase="compensating",
        definition="order@3",
        stuck="any",
        step="ship",
        error='no "real" money \\ today',
        tags=("vip", "region=eu"),
        paused=True,
        age_over_ms=7_200_000,
        age_under_ms=129_600_000,
        since_over_ms=90_000,
        updated_under_ms=500,
    )
    assert parse("  ") == Filter()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stuk:any", "stuk:any: found the unknown condition 'stuk'; expected .*Did you mean stuck:"),
        ("compensating", "found a word without a colon; expected .*Did you mean phase:compensating"),
        ("Phase:running", "Did you mean phase:"),
        ("phase:runing", "phase: found 'runing'; expected running, .* or abandoned. Did you mean phase:running"),
        ("stuck:exhausted", "stuck: found 'exhausted'; expected any, compensation_exhausted"),
        ("hold:stuck", "hold: found 'stuck'; expected paused.*stuck:any"),
        ("definition:Order", "definition: found 'Order'; expected 1 to 64 lower-case"),
        ("definition:order@x", "definition: found 'order@x'; expected name or name@version"),
        ("definition:order@0", "definition: found 'order@0'; expected name or name@version"),
        ("step:Ship", "step: found 'Ship'; expected 1 to 64"),
        ("tag:ä", "tag: found 'ä'; expected 1 to 64"),
        ("age:2h", "age: found '2h'; expected > or < and a duration, such as age:>2h"),
        ("age:>2", "age: found '>2'; expected a duration of numbers and units"),
        ("age:>0s", "age: found '>0s'; expected a duration .* above zero"),
        ("since:<999999999999d", "since: found .*; expected a duration"),
        ("phase:running phase:compensating", "phase: found a second one"),
        ("age:>1h age:>2h", "age: found a second one"),
        ("error:", "error: found nothing; expected a value"),
        ('error:"no money', "error: found .*; expected a value; one with spaces"),
        ('error:a"b', "error: found 'a\"b'|error: found a\"b; expected a value"),
        ("error:" + "x" * 65, "error: found 65 characters; expected an error code of at most 64"),
        ("tag:a " * 1_000, "filter: found 6000 characters; expected at most 4000"),
        (" ".join(f"tag:t{number}" for number in range(17)), "tag: found more than 16"),
    ],
)
def test_a_refusal_names_the_condition_and_what_is_expected(text: str, told: str) -> None:
    """So that the next try is right."""
    with pytest.raises(FilterError, match=told):
        parse(text)


def test_only_the_filter_without_conditions_is_empty() -> None:
    """Whoever acts in bulk refuses it: everything is never meant."""
    assert parse("").is_empty
    assert not any(parse(text).is_empty for text in ("phase:running", "hold:paused", 'error:""', "age:>1s", "tag:a"))


def test_a_filter_is_told_in_words() -> None:
    """What a person confirms is a sentence."""
    text = (
        'phase:running definition:order stuck:any step:ship error:"no money" tag:vip hold:paused age:>2h since:<1m30s'
    )
    assert describe(parse(text)) == (
        "in phase running, of order, stuck by any cause, at step ship, with error no money, tagged vip, paused, "
        "started more than 2 hours ago, stuck or paused for less than 1 minute 30 seconds"
    )
    assert describe(parse('stuck:state_lost step:"" error:""')) == (
        "stuck by state_lost, stuck on no step, stuck without an error code"
    )
    assert describe(Filter()) == "of every kind"


@given(st.integers(1, DURATION_MS_MAX))
def test_durations_are_written_as_they_are_read(duration_ms: int) -> None:
    """Nothing is rounded away."""
    assert milliseconds(written(duration_ms)) == duration_ms


def test_durations_for_people() -> None:
    """A column shows two neighbouring units at most, a sentence all of them."""
    shown = [short(each) for each in (-5, 999, 61_000, 3_600_000, 3_605_000, 93_784_000, 8_640_000_000)]
    assert shown == ["0s", "0s", "1m 1s", "1h", "1h", "1d 2h", "100d"]
    assert in_words(93_784_005) == "1 day 2 hours 3 minutes 4 seconds 5 milliseconds"


def test_an_approval_is_asked_for_by_role_or_person() -> None:
    """Anybody's, a role's or a person's; nobody's is refused."""
    assert parse("approval:any assignee:alice") == Filter(approval="any", assignee="alice")
    assert describe(parse("approval:any")) == "with an approval open"
    assert describe(parse("approval:fraud assignee:alice")) == (
        "with an approval open for the role fraud, with an approval open for alice"
    )
    for text in ('approval:""', f"assignee:{'x' * 257}"):
        with pytest.raises(FilterError, match="of 1 to"):
            parse(text)
