from pathlib import Path

import numpy as np
import pytest

from features.errors import TrainingError
from features.logs.live import HomeLog
from features.records import Action, Event, Item, Kind, Served, Slot
from training.loops.exposure import exposure, exposure_of, top_share

DAY = 86_400_000
CATALOG = {
    item.item_id: item
    for item in (
        Item("r1", 0, Kind.ROOM, author_id="a", room_type="merchant"),
        Item("r2", 0, Kind.ROOM, author_id="b", room_type="kol"),
        Item("p1", 10 * DAY, Kind.PRODUCT, merchant_id="m", brand_id="new"),
        Item("p2", 0, Kind.PRODUCT, merchant_id="m", brand_id="old"),
        Item("v", 0, Kind.VIDEO, author_id="never"),
    )
}


def test_exposure_of_known_pages() -> None:
    pages = [
        Served("1", 10 * DAY, 0, slots=(Slot("r1"), Slot("p1"), Slot("gone"))),
        Served("2", 12 * DAY, 0, slots=(Slot("r1"), Slot("r2"), Slot("p1"), Slot("p2"))),
    ]
    found = exposure(pages, CATALOG, new_ms=DAY)
    assert found.slots == 7
    assert found.new_brands == pytest.approx(1 / 7)
    assert found.merchants == pytest.approx(2 / 3)
    # a 2, b 1, m 3, never 0
    assert found.top_1pct == pytest.approx(3 / 6)
    assert found.gini == pytest.approx((0 * -3 + 1 * -1 + 2 * 1 + 3 * 3) / (4 * 6))


def test_nothing_served_is_nobodys() -> None:
    found = exposure([], CATALOG, new_ms=DAY)
    assert found.slots == 0
    assert all(np.isnan(part) for part in found[1:])


def test_a_slot_is_beyond_followers_until_the_person_follows_its_author(tmp_path: Path) -> None:
    like, follow = (Event(action, DAY, "r1", action, "u") for action in (Action.LIKE, Action.FOLLOW))
    pages = [
        Served("1", DAY, 6, "u", slots=(Slot("r1"), Slot("p1"))),
        Served("2", DAY, 8, "u", slots=(Slot("r1"), Slot("v"), Slot("r2"), Slot("p2"))),
        Served("3", DAY, 8, "other", slots=(Slot("r1"),)),
        Served("4", DAY, 8, slots=(Slot("r1"),)),
    ]
    with HomeLog(tmp_path, writer=True) as log:
        log.append([*CATALOG.values(), like, pages[0], follow, *pages[1:]], DAY)
        found = exposure_of(log)
        assert found.slots == 8
        # Of the slots with an author and a person, five in all, one was followed.
        assert found.beyond_followers == pytest.approx(4 / 5)
        assert exposure_of(log, since_ms=DAY).slots == 8
        with pytest.raises(TrainingError, match="No page was served"):
            exposure_of(log, since_ms=DAY + 1)


def test_the_most_shown_hundredth_is_counted_by_owners() -> None:
    assert top_share(np.array([1.0] * 198 + [99.0, 3.0])) == pytest.approx(102 / 300)
