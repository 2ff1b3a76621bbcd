import numpy as np
import pytest

from features.records import Item, Kind, Served, Slot
from training.exposure import exposure, top_share

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


def test_the_most_shown_hundredth_is_counted_by_owners() -> None:
    assert top_share(np.array([1.0] * 198 + [99.0, 3.0])) == pytest.approx(102 / 300)
