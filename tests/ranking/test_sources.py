from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.logs.log import Stored, to_batch
from features.outcomes import PRODUCT, ROOM, VIDEO
from features.records import Action, Context, Event, Item, Kind, Record
from features.standard import standard
from features.state import FeatureState
from features.types import FloatArray, RowArray
from ranking.candidates.sources import Fresh, Personal, Trending, merge
from ranking.index.exact import ExactIndex
from ranking.types import Query, Source

NOW = 1_600_000_000_000
HOUR = 3_600_000
LAYOUT = standard({}, {}).layout


def _fold(state: FeatureState, *records: Record) -> FeatureState:
    start = state.offset
    state.fold(to_batch([Stored(start + i, NOW, record) for i, record in enumerate(records)]))
    return state


def _video(item_id: str, live_from_ms: int = 0, listed: bool = True, ts_ms: int = NOW) -> Item:
    return Item(item_id, ts_ms, Kind.VIDEO, live_from_ms=live_from_ms, listed=listed)


def _events(item_id: str, impressions: int, likes: int = 0, ts_ms: int = NOW) -> list[Record]:
    actions = [Action.IMPRESSION] * impressions + [Action.LIKE] * likes
    return [Event(f"{item_id} {ts_ms} {i}", ts_ms, item_id, a, user_id="ann") for i, a in enumerate(actions)]


def _query(now_ms: int = NOW, vector: FloatArray | None = None) -> Query:
    return Query("r", "", 0, 0, now_ms, 20, Context(), np.zeros(4, np.float32) if vector is None else vector)


def _found(state: FeatureState, source: Source, now_ms: int = NOW, k: int = 10) -> list[str]:
    return [state.items.name(row) for row in source.retrieve(_query(now_ms), k)]


def _rows(rows: Sequence[int]) -> RowArray:
    return np.array(rows, np.int32)


def test_personal_finds_what_is_nearest_to_the_person() -> None:
    index, axes = ExactIndex(4), np.eye(4, dtype=np.float32)
    index.put(_rows([10, 11, 12, 13]), axes)
    source = Personal(ROOM, index)
    taste = np.array([0.1, 0.9, 0.0, 0.4], np.float32)
    assert source.retrieve(_query(vector=taste), 2).tolist() == [11, 13]
    assert source.name == "live"


def test_personal_finds_nothing_for_whom_nothing_is_known() -> None:
    index = ExactIndex(4)
    index.put(_rows([1]), np.ones((1, 4), np.float32))
    assert len(Personal(PRODUCT, index).retrieve(_query(), 5)) == 0


def test_personal_looks_only_among_what_is_allowed() -> None:
    index = ExactIndex(4)
    index.put(_rows([0, 1, 2]), np.eye(4, dtype=np.float32)[:3])
    source = Personal(ROOM, index, lambda query: np.array([True, False, query.now_ms == NOW]))
    assert source.retrieve(_query(vector=np.array([0.1, 1, 0.2, 0], np.float32)), 5).tolist() == [2, 0]


def test_trending_prefers_what_is_liked_by_many_to_what_is_liked_by_one() -> None:
    state = _fold(
        FeatureState(LAYOUT), _video("loved"), _video("plain"), _video("lucky"), _video("unseen"),
        *_events("loved", 100, 30), *_events("plain", 100, 5), *_events("lucky", 1, 1),
    )  # fmt: skip
    assert _found(state, Trending(VIDEO, state)) == ["loved", "plain", "lucky"]


def test_trending_forgets_with_its_half_life() -> None:
    old = _events("old", 40, 12, NOW - 6 * HOUR)
    state = _fold(FeatureState(LAYOUT), _video("old"), _video("new"), *old, *_events("new", 10, 3))
    assert _found(state, Trending(VIDEO, state)) == ["new", "old"]


def test_a_quiet_year_does_not_empty_the_chart() -> None:
    state = _fold(FeatureState(LAYOUT), _video("a"), _video("b"), *_events("a", 5, 1), *_events("b", 5, 4))
    assert _found(state, Trending(VIDEO, state), NOW + 365 * 24 * HOUR) == ["b", "a"]


def test_charts_show_their_kind_and_what_is_listed_and_goes_on() -> None:
    room = Item("room", NOW, Kind.ROOM)
    over = Item("over", NOW, Kind.ROOM)
    live = [Event(f"start {r}", NOW, r, Action.ROOM_START) for r in ("room", "over")]
    end = Event("end", NOW, "over", Action.ROOM_END)
    state = _fold(
        FeatureState(LAYOUT), room, over, *live, end, _video("v", NOW), _video("gone", NOW), _video("gone", NOW, False),
        *(event for name in ("room", "over", "v", "gone", "undescribed") for event in _events(name, 3, 1)),
    )  # fmt: skip
    for chart in (Trending, Fresh):
        assert _found(state, chart(ROOM, state)) == ["room"]
        assert _found(state, chart(VIDEO, state)) == ["v"]
        assert _found(state, chart(PRODUCT, state)) == []


def test_fresh_is_newest_first_within_a_day_and_never_the_future() -> None:
    begun = {"now": NOW, "hour": NOW - HOUR, "day": NOW - 24 * HOUR, "older": NOW - 24 * HOUR - 1, "soon": NOW + 1}
    state = _fold(FeatureState(LAYOUT), *(_video(name, ms) for name, ms in begun.items()))
    assert _found(state, Fresh(VIDEO, state)) == ["now", "hour", "day"]


def test_without_a_time_of_its_own_an_item_is_fresh_from_its_first_row_on() -> None:
    day = 24 * HOUR
    state = _fold(
        FeatureState(LAYOUT),
        *_events("new", 1),
        _video("new", ts_ms=NOW - HOUR),
        _video("known", ts_ms=NOW - day - 1),
        _video("dated", NOW - day - 1, ts_ms=NOW - HOUR),
        _video("told later", ts_ms=NOW - HOUR),
    )
    # Described again: what is old stays old, what is new is no newer.
    _fold(state, _video("new"), _video("known"), _video("known"), _video("dated"), _video("told later", NOW - 2 * day))
    assert _found(state, Fresh(VIDEO, state)) == ["new"]
    assert _found(state, Fresh(VIDEO, state), NOW + 23 * HOUR + 1) == []


def test_equal_scores_go_by_row() -> None:
    names = ["c", "a", "b"]
    state = _fold(FeatureState(LAYOUT), *(_video(name, NOW) for name in names))
    _fold(state, *(event for name in "bca" for event in _events(name, 3, 1)))
    assert _found(state, Fresh(VIDEO, state)) == names
    assert _found(state, Trending(VIDEO, state)) == names


def test_a_small_catalog_sees_every_record_at_once() -> None:
    others = [_video(f"other {i}", NOW - 25 * HOUR) for i in range(100)]
    state = _fold(FeatureState(LAYOUT), *others, _video("a", NOW - 1), *_events("a", 3, 1))
    fresh, trending = Fresh(VIDEO, state), Trending(VIDEO, state)
    assert _found(state, fresh) == _found(state, trending) == ["a"]
    _fold(state, _video("b", NOW), *_events("b", 3, 3))
    for chart in (fresh, trending):
        chart.follow(state.items.find_all(["b"]))
    assert _found(state, fresh) == _found(state, trending) == ["b", "a"]


def test_a_chart_is_redrawn_when_the_clock_moves_on_or_more_is_asked() -> None:
    state = _fold(FeatureState(LAYOUT), *(_video(f"v{i}", NOW - i) for i in range(1500)))
    fresh = Fresh(VIDEO, state)
    assert len(_found(state, fresh, k=5)) == 5
    assert len(_found(state, fresh, k=1400)) == 1400
    assert _found(state, fresh, NOW + 25 * HOUR) == []


def test_what_the_log_speaks_of_comes_back_into_a_pool_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranking.candidates.sources.CHART_POOL", 20)
    monkeypatch.setattr("ranking.candidates.sources.CHART_PLACES", 5)
    state = _fold(FeatureState(LAYOUT), *(_video(f"v{i}", NOW - i) for i in range(200)), _video("soon", NOW + HOUR))
    _fold(state, *(one for i in range(100) for one in _events(f"v{i}", 2, 1)))
    fresh, trending = Fresh(VIDEO, state), Trending(VIDEO, state)
    assert _found(state, fresh, k=5) == [f"v{i}" for i in range(5)]
    assert _found(state, trending, k=5) == [f"v{i}" for i in range(5)]
    assert _found(state, fresh, NOW + HOUR)[0] == "soon"
    _fold(state, *_events("v150", 50, 30), _video("v199", NOW))
    for chart in (fresh, trending):
        chart.follow(state.items.find_all(["v150", "v199"]))
    assert _found(state, trending)[0] == "v150"
    assert _found(state, fresh)[:2] == ["v0", "v199"]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6, unique=True), max_size=4))
def test_merge_keeps_each_row_once_for_the_source_that_found_it_first(found: list[list[int]]) -> None:
    merged = merge([_rows(rows) for rows in found])
    first: dict[int, int] = {}
    for source, rows in enumerate(found):
        for row in rows:
            first.setdefault(row, source)
    assert dict(zip(merged.rows.tolist(), merged.source.tolist(), strict=True)) == first
    assert merged.rows.tolist() == list(first)
