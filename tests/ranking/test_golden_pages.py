"""Pages of a seeded market, to the bit as they were before whatever was made faster."""

from pathlib import Path

from tests.ranking.golden_pages import PAGE, PEOPLE, kept, pages


def test_pages_are_as_they_were_to_the_last_bit(tmp_path: Path) -> None:
    before, now = kept(), pages(tmp_path)
    assert [*before] == [f"u{n}" for n in PEOPLE]
    assert all(len(page) == PAGE for page in before.values())
    for user, page in before.items():
        assert [one.item_id for one in now[user]] == [one.item_id for one in page]
        assert now[user] == page
