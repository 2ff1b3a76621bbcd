"""A snapshot is a shortcut: restoring it and folding the rest is never having stopped."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import Category, Column, Count
from features.fold.arrays import SEEN
from features.fold.rings import MOST, PAUSE_MS, POOL, recalled
from features.fold.storage import leaves
from features.logs.log import Stored, to_batch
from features.records import Action, Control, Erase, Event, Item, Kind, Record, User
from features.schema import FeatureSet
from features.snapshot import KEPT, OvertakenError, SnapshotWarning, clear, newest, save
from features.standard import standard
from features.state import FeatureState

DAY = 20_000 * 86_400_000
FEATURES = standard({"tag": str, "quality": float}, {"job": str, "active": float})
LAYOUT = FEATURES.layout

names = st.integers(1, 12).map(str)
times = st.integers(0, 8 * 86_400_000).map(lambda ms: DAY + ms)
actions = st.sampled_from([action for action in Action if not action.startswith("room")])
records = st.one_of(
    st.builds(Event, st.just("e"), times, names, actions, names, names | st.just(""), st.integers(0, 90_000), names),
    st.builds(Event, st.just("e"), times, names, st.sampled_from([Action.ROOM_START, Action.ROOM_END])),
    st.builds(
        Item, names, times, st.sampled_from(Kind), author_id=names, category=names, price=st.integers(0, 999),
        attributes=st.fixed_dictionaries({}, optional={"tag": names, "quality": st.floats(0, 1)}),
    ),
    st.builds(User, names, times, gender=names, history=st.lists(names, max_size=3).map(tuple)),
    st.builds(Control, names, times, st.sampled_from(["hide_item", "hide_author", "hide_category"]), names),
    st.builds(Control, names, times, st.sampled_from(["personalisation_off", "clear_history"])),
    st.builds(Erase, names, times),
)  # fmt: skip


def folded(state: FeatureState, run: Sequence[Record]) -> FeatureState:
    """The state with a run folded in that continues it; all of it is received after all that it tells of."""
    if run:
        received_ms = DAY + 8 * 86_400_000
        stored = [Stored(offset, received_ms, record) for offset, record in enumerate(run, state.offset)]
        state.fold(to_batch(stored))
    return state


def known(state: FeatureState) -> tuple[object, ...]:
    """Everything a state knows but its arrays."""
    columns = {name: words.names for name, words in (state.columns | state.user_columns).items()}
    ignored = state.ignored.tolist()
    names = state.users.names, state.items.names, columns
    return state.offset, state.received_ms, ignored, names, [*state.payloads.first(len(state.items))], state.hidden


def assert_same(left: FeatureState, right: FeatureState) -> None:
    assert known(left) == known(right)
    for ours, theirs in zip(leaves(left.arrays), leaves(right.arrays), strict=True):
        rows = min(len(ours), len(theirs))
        assert ours.dtype == theirs.dtype
        assert ours[:rows].tobytes() == theirs[:rows].tobytes()
        # Rows that one of them keeps in reserve are as new.
        longer = ours if len(ours) > rows else theirs
        fresh = np.broadcast_to(longer[-1:], longer[rows:].shape)
        assert longer[rows:].tobytes() == np.ascontiguousarray(fresh).tobytes()


@settings(max_examples=40)
@given(st.lists(records, max_size=60), st.data())
def test_restoring_and_folding_the_rest_is_never_having_stopped(
    tmp_path_factory: pytest.TempPathFactory, run: list[Record], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    cut = data.draw(st.integers(0, len(run)))
    begun = folded(FeatureState(LAYOUT), run[:cut])
    save(begun, folder)
    restored = newest(LAYOUT, folder)
    assert restored is not None
    assert_same(restored, begun)
    whole = folded(FeatureState(LAYOUT), run)
    assert_same(folded(restored, run[cut:]), whole)
    assert_same(folded(begun, run[cut:]), whole)


def test_a_restored_state_grows_past_the_rows_it_was_saved_with(tmp_path: Path) -> None:
    run = [Event("e", DAY, f"i{n}", Action.LIKE, f"u{n}") for n in range(300)]
    save(folded(FeatureState(LAYOUT), run[:70]), tmp_path)
    restored = newest(LAYOUT, tmp_path)
    assert restored is not None
    assert_same(folded(restored, run[70:]), folded(FeatureState(LAYOUT), run))


def like(number: int) -> Record:
    return Event(f"e{number}", DAY + 7 * 86_400_000, f"房间{number}", Action.LIKE, "u1")


def three_snapshots(folder: Path) -> list[Path]:
    state = FeatureState(LAYOUT)
    return [save(folded(state, [like(number)]), folder) for number in range(3)]


def test_without_a_snapshot_there_is_none(tmp_path: Path) -> None:
    assert newest(LAYOUT, tmp_path / "nowhere") is None


def test_the_newest_two_snapshots_stay(tmp_path: Path) -> None:
    paths = three_snapshots(tmp_path)
    assert sorted(tmp_path.iterdir()) == paths[-KEPT:]
    state = newest(LAYOUT, tmp_path)
    assert state is not None
    assert state.offset == 3


@pytest.mark.parametrize("name", ["arrays.npz", "contents.json", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_snapshot_is_skipped_by_name_and_the_older_one_used(tmp_path: Path, name: str, damage: str) -> None:
    last = three_snapshots(tmp_path)[-1]
    file = last / name
    content = file.read_bytes()
    half = len(content) // 2
    if damage == "remove":
        file.unlink()
    else:
        flipped = content[:half] + bytes([content[half] ^ 0x80]) + content[half + 1 :]
        file.write_bytes(content[:half] if damage == "cut" else flipped)
    with pytest.warns(SnapshotWarning, match=last.name):
        state = newest(LAYOUT, tmp_path)
    assert state is not None
    assert_same(state, folded(FeatureState(LAYOUT), [like(0), like(1)]))


def test_a_snapshot_of_more_than_the_log_holds_is_skipped(tmp_path: Path) -> None:
    three_snapshots(tmp_path)
    with pytest.warns(SnapshotWarning, match="holds 3 records, the log 2"):
        state = newest(LAYOUT, tmp_path, end=2)
    assert state is not None
    assert state.offset == 2


def test_a_damaged_snapshot_is_replaced_by_one_of_the_same_offset(tmp_path: Path) -> None:
    state = folded(FeatureState(LAYOUT), [like(1)])
    (save(state, tmp_path) / "arrays.npz").write_bytes(b"")
    save(state, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = newest(LAYOUT, tmp_path)
    assert restored is not None
    assert_same(restored, state)


def test_snapshots_of_another_layout_are_neither_read_nor_removed(tmp_path: Path) -> None:
    other = FeatureSet((Column("item.price"), Category("item.tag"))).layout
    paths = three_snapshots(tmp_path)
    assert newest(other, tmp_path) is None
    state = FeatureState(other)
    for number in range(3):
        save(folded(state, [like(number)]), tmp_path)
    assert set(paths[-KEPT:]) < set(tmp_path.iterdir())


@settings(max_examples=60)
@given(st.data())
def test_any_flipped_bit_of_a_snapshot_is_found_and_the_one_before_is_folded_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    last = three_snapshots(folder)[-1]
    file = last / data.draw(st.sampled_from(["arrays.npz", "contents.json", "meta.json"]))
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        state = newest(LAYOUT, folder)
    assert state is not None
    # A blank of meta.json may turn into another: then nothing that counts is other than it was.
    assert [last.name in str(one.message) for one in told] == ([True] if state.offset == 2 else [])
    assert_same(folded(state, [like(number) for number in range(state.offset, 3)]), whole_of_three())


def whole_of_three() -> FeatureState:
    return folded(FeatureState(LAYOUT), [like(number) for number in range(3)])


def test_a_snapshot_that_is_cleared_while_it_is_written_ends_and_leaves_nothing(tmp_path: Path) -> None:
    state = folded(FeatureState(LAYOUT), [User("1", DAY), User("2", DAY)])

    def cleared(people: Sequence[str]) -> Sequence[str]:
        clear(tmp_path)
        return people

    with pytest.raises(OvertakenError, match="cleared"):
        save(state, tmp_path, cleared)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OvertakenError, match="erased"):
        save(state, tmp_path, wanted=lambda: False)
    assert list(tmp_path.iterdir()) == []
    assert save(state, tmp_path).is_dir()


def scrolling(users: int, count: int, every_ms: int = 1000, first: int = 1) -> list[Record]:
    """Impressions of as many items by each of some people, in turns."""
    turns = [(n, user) for n in range(first, first + count) for user in range(1, users + 1)]
    begun_ms = DAY + 7 * 86_400_000
    return [Event("e", begun_ms + every_ms * n, f"i{n}", Action.IMPRESSION, f"u{user}") for n, user in turns]


def remembered(state: FeatureState, user: str) -> list[str]:
    """What a person was shown as far as the state knows, as they come."""
    rows, _ = recalled(state.arrays.rings, state.arrays.sessions, state.spilt, state.users.find(user))
    return [state.items.name(row) for row in rows.tolist()]


@pytest.mark.parametrize("cut", [10, 500, 799])
def test_a_long_session_goes_on_bit_for_bit_from_a_snapshot(tmp_path: Path, cut: int) -> None:
    run = scrolling(4, 200)
    save(folded(FeatureState(LAYOUT), run[:cut]), tmp_path)
    restored = newest(LAYOUT, tmp_path)
    assert restored is not None
    whole = folded(FeatureState(LAYOUT), run)
    assert_same(folded(restored, run[cut:]), whole)
    assert restored.spilt == whole.spilt == 4 * (200 - SEEN)
    assert set(remembered(whole, "u3")) == {f"i{n}" for n in range(1, 201)}


def test_a_long_pause_begins_a_session_anew_and_so_does_forgetting(tmp_path: Path) -> None:
    state = folded(FeatureState(LAYOUT), scrolling(2, 100))
    later = PAUSE_MS // 1000 + 120
    folded(state, [*scrolling(1, 1, first=later), Control("u2", DAY, "clear_history")])
    assert set(remembered(state, "u1")) == {*(f"i{n}" for n in range(62, 101)), f"i{later}"}
    assert remembered(state, "u2") == []
    assert state.spilt == 2 * (100 - SEEN)


def test_a_session_recalls_its_last_thousands_and_the_pool_its_last_millions() -> None:
    state = folded(FeatureState(LAYOUT), scrolling(1, SEEN + MOST + 500, every_ms=500))
    assert remembered(state, "u1")[SEEN:] == [f"i{n}" for n in range(MOST + 500, 500, -1)]
    # As if others had filled the pool but for some places.
    full = FeatureState(LAYOUT)
    full.spilt[0] = POOL - 10
    folded(full, scrolling(1, SEEN + 25))
    assert remembered(full, "u1")[SEEN:] == [f"i{n}" for n in range(25, 0, -1)]
    full.spilt[0] += POOL - 20
    assert remembered(full, "u1")[SEEN:] == [f"i{n}" for n in range(25, 5, -1)]


GOLDEN = Path(__file__).parent / "golden" / "state"
FEW = FeatureSet((Column("item.price"), Count("user", "impression", half_life="1h"))).layout
RUN: list[Record] = [
    Item("i1", DAY, Kind.VIDEO, author_id="a", category="c", price=3),
    User("u1", DAY, gender="f", history=("i1",)),
    *scrolling(2, 60),
    Event("o", DAY + 7 * 86_400_000, "i2", Action.ORDER, "u1"),
    Control("u1", DAY, "hide_item", "i3"),
]


def test_a_snapshot_of_todays_format_is_read_as_it_was_written() -> None:
    """Where it is not, ``FORMAT`` is to be raised and the golden one written anew: save(...) of RUN."""
    state = newest(FEW, GOLDEN)
    assert state is not None
    assert_same(state, folded(FeatureState(FEW), RUN))


def test_a_snapshot_of_the_format_before_is_passed_over_by_name(tmp_path: Path) -> None:
    path = save(folded(FeatureState(LAYOUT), [like(0)]), tmp_path)
    meta = path / "meta.json"
    meta.write_text(meta.read_text("utf-8").replace('"format":3', '"format":2'), "utf-8")
    with pytest.warns(SnapshotWarning, match="is of format 2, not 3"):
        assert newest(LAYOUT, tmp_path) is None
