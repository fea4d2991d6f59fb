"""The exhaustive test finds each bug that is planted in a copy of the order example, and names it understandably."""

from pathlib import Path

import pytest

from kit.bugs import BINDING_QUOTE, BUGS, GOOD
from kit.copies import copy_of_example, examined

ENOUGH = 1  # A bug shows in many cases, and the first one tells it.


@pytest.mark.parametrize("name", BUGS)
async def test_a_planted_bug_is_found(tmp_path: Path, name: str) -> None:
    """It is reported at the step that it stands in, with the reason and a timeline that fits the terminal."""
    bug = BUGS[name]
    report = await examined(copy_of_example(tmp_path, bug.patches), bug.order, findings_max=ENOUGH)
    assert any(bug.says in reason for reason in report.why.get(bug.step, [])), report.text
    assert f"{bug.step}: " in report.text
    assert max(map(len, report.text.splitlines())) <= 100
    with pytest.raises(AssertionError, match="ended neither all done nor all undone"):
        report.check()


async def test_what_is_right_is_not_found(tmp_path: Path) -> None:
    """The patch that one of the bugs stands on is sound by itself."""
    report = await examined(copy_of_example(tmp_path, BINDING_QUOTE), GOOD, steps={"quote_shipping"})
    report.check()
    assert report.cases > 30
