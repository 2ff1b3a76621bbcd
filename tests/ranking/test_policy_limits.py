"""What a policy could say and nobody could serve: more marks than are kept, fees that never take effect."""

from datetime import datetime
from pathlib import Path

import pytest

from features.errors import PolicyError
from features.records import Item, Kind
from ranking import Engine, RankRequest
from ranking.policy import parse
from ranking.policy.dates import milliseconds
from tests.small_home import NOW


def marked(count: int) -> str:
    """Rules with so many different marks, and a last one that has the mark of the first."""
    rules = [f"[[rules]]\nname = 'r{at}'\nkinds = ['room']\nunless = 'a{at % count}'" for at in range(count + 1)]
    return "\n".join(rules)


def test_rules_name_as_many_marks_as_are_kept_and_no_more() -> None:
    assert len(parse(marked(63)).rules) == 64
    with pytest.raises(PolicyError, match=r"line 256: rules\[63\]\.unless: 'a63' is one more than the 63"):
        parse(marked(64))


def test_as_many_marks_as_a_policy_may_name_are_told_apart(home: Path) -> None:
    rules = [f"[[rules]]\nname = 'r{at}'\nkinds = ['product']\nunless = 'a{at}'\n" for at in range(63)]
    every: dict[str, str | float] = {f"a{at}": 1.0 for at in range(63)}
    lacking = {"p-first": "a0", "p-last": "a62"}
    (home / "policy.toml").write_text("".join(rules), "utf-8")
    with Engine.open(home) as engine:
        engine.append([
            Item("p-every", NOW - 1000, Kind.PRODUCT, shop="own", category="c", attributes=every),
            *(Item(name, NOW - 1000, Kind.PRODUCT, shop="own", category="c", attributes=every | {mark: 0.0})
              for name, mark in lacking.items()),
        ], NOW)  # fmt: skip
        ranked = engine.rank(RankRequest(item_ids=("p-every", *lacking)), NOW, "marks")
    assert [item.item_id for item in ranked.items] == ["p-every"]
    assert ranked.dropped == {"rule r0": 1, "rule r62": 1}


def fees(*entries: str) -> str:
    return "[fees]\ntable = [\n" + "".join(f"{{ shop = {entry} }},\n" for entry in entries) + "]"


JUNE, JULY, AUGUST = (f"2020-0{month}-01T00:00:00+08:00" for month in (6, 7, 8))


@pytest.mark.parametrize(
    "entries",
    [
        (f"'own', fee = 0.1, from = {JUNE}, until = {JULY}", "'own', fee = 0.2"),
        (f"'own', fee = 0.1, from = {JUNE}, until = {JULY}", f"'own', fee = 0.2, from = {JUNE}, until = {JULY}"),
        (
            f"'own', fee = 0.1, from = {JUNE}, until = {AUGUST}",
            f"'own', fee = 0.2, from = {JULY}",
            f"'own', fee = 0.3, until = {JULY}",
        ),
    ],
)
def test_a_fee_that_later_ones_leave_no_moment_is_refused(entries: tuple[str, ...]) -> None:
    with pytest.raises(PolicyError, match=r"line 3: fees\.table\[0\]: it never takes effect"):
        parse(fees(*entries))
    # Another shop is not meant by them.
    other = parse(fees(entries[0].replace("own", "third_party"), *entries[1:]))
    assert len(other.fees.table) == len(entries)


def test_of_the_fees_that_hold_the_last_written_counts() -> None:
    table = parse(fees("'own', fee = 0.1", f"'own', fee = 0.2, from = {JUNE}, until = {JULY}")).fees
    at = [milliseconds(datetime.fromisoformat(moment)) for moment in (JUNE, JULY)]
    moments = (at[0] - 1, at[0], at[1] - 1, at[1])
    assert [table.rates(moment)[1] for moment in moments] == [0.1, 0.2, 0.2, 0.1]
