"""Leakage: whatever comes after a moment changes nothing that was learned, labelled or written of before it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import TrainingError
from features.factors import Factors
from features.history import History, read_history
from features.logs.log import DAY_MS, Stored
from features.records import Action, Context, Event, Item, Kind, Record, User
from features.replay import Progress
from huozhao.table import write_table
from tests.random_log import MemoryLog
from training.learning import pipeline
from training.learning.audit import audit_codes, audit_factors
from training.learning.examples import choose_codes, default_features
from training.learning.factors import fit_by_day
from training.learning.pipeline import readers_of
from training.one_call import train

UTC_OFFSET_MS = 8 * 3_600_000
MIDNIGHT_MS = 19_098 * DAY_MS - UTC_OFFSET_MS
DAYS = 4
CUTS_MS = [MIDNIGHT_MS + day * DAY_MS for day in range(1, DAYS)]


def described(day: int, number: int, at_ms: int) -> Item:
    """Item ``number`` as the catalog has it on a day: everything of it changes but its name and its kind."""
    kind = [Kind.VIDEO, Kind.PRODUCT][number % 2]
    author, category = f"a{9 - day}-{number % 7}", f"c{9 - day}-{number % 2}"
    title = f"第{day}天 {number % 5}"
    known: dict[str, str | float] = {"music": f"m{9 - day}"}
    return Item(f"i{number}", at_ms, kind, title, author, brand_id=f"b{number % 3}", category=category,
                duration_ms=5_000 * (day + 1), attributes=known)  # fmt: skip


def changing_log(slates: int = 1_600) -> MemoryLog:
    """A log of days on which items appear and change, and people come with what they liked long ago, or come again.

    Names of later days sort before those of earlier ones; histories name items that the log mentions days later; and
    every seventh clock runs ahead by minutes.
    """
    rng = np.random.default_rng(0)
    records: list[tuple[int, Record]] = []
    for day in range(DAYS):
        at_ms = MIDNIGHT_MS + day * DAY_MS
        records += [(at_ms, described(day, number, at_ms)) for number in range(60) if number % DAYS <= day]
        for u in range(day * 20, 40 + day * 20):
            liked = tuple(f"i{i}" for i in rng.choice(60, 5, replace=False).tolist())
            records.append((at_ms + u, User(f"u{u}", at_ms, city_tier=str(9 - day), history=liked)))
    moments = np.sort(rng.integers(MIDNIGHT_MS + 1_000, MIDNIGHT_MS + DAYS * DAY_MS, slates))
    for slate, at_ms in enumerate(moments.tolist()):
        day = (at_ms - MIDNIGHT_MS) // DAY_MS
        user, ahead_ms = int(rng.integers(40 + day * 20)), 240_000 * (slate % 7 == 0)
        for place, item in enumerate(rng.choice([i for i in range(60) if i % DAYS <= day], 4, replace=False).tolist()):
            fits = user % 2 == item % 2
            acts = [Action.WATCH] + [Action.CLICK] * bool(rng.random() < (0.6 if fits else 0.2))
            for action in (Action.IMPRESSION, *acts):
                late_ms = 500 * (action is not Action.IMPRESSION)
                name, via = f"{slate}-{item}-{action}", f"i{(item + 4) % 60}" if item % 4 == 0 else ""
                value = int(rng.exponential(12_000)) if action is Action.WATCH else 0
                context = Context(["feed", f"a{9 - day}"][slate % 2], position=place)
                event = Event(
                    name, at_ms + ahead_ms + place, f"i{item}", action, f"u{user}", via, value, f"r{slate}", context
                )
                records.append((at_ms + place + late_ms, event))
    records.sort(key=lambda pair: pair[0])
    return MemoryLog([Stored(i, at, record) for i, (at, record) in enumerate(records)], 4096)


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return changing_log()


def fitted(history: History, until_ms: int) -> list[tuple[int, Factors]]:
    return fit_by_day(history, until_ms, UTC_OFFSET_MS, 0, lambda done, of: None)


def test_factors_of_a_day_know_only_the_days_before(log: MemoryLog) -> None:
    end_ms = MIDNIGHT_MS + DAYS * DAY_MS
    whole = fitted(read_history(log), end_ms)
    assert [since for since, _ in whole] == [MIDNIGHT_MS, *CUTS_MS, end_ms]
    assert len({factors.version for _, factors in whole}) == len(whole)
    for day, cut_ms in enumerate(CUTS_MS, 1):
        ended = fitted(read_history(log, cut_ms), cut_ms)
        assert [factors.version for _, factors in ended] == [factors.version for _, factors in whole[: day + 1]]
        assert ended[-1][1].item_names


def test_a_moment_is_read_with_factors_that_end_before_it_whatever_a_clock_says(log: MemoryLog) -> None:
    history = read_history(log)
    feature_set = default_features(history)
    codes = choose_codes(history, feature_set, history.last_ms)
    days = [(start_ms, Factors.empty()) for start_ms in (MIDNIGHT_MS, *CUTS_MS)]
    readers = readers_of(feature_set, codes, history, days)
    assert readers.since == tuple(sum(stored.received_ms < start for stored in log.stored) for start, _ in days)
    for since in readers.since[1:]:
        assert readers.at(since) == readers.at(since - 1) + 1


@pytest.fixture(scope="module")
def whole_table(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return table_of(log, None, tmp_path_factory.mktemp("whole"))


def table_of(log: MemoryLog, until_ms: int | None, folder: Path) -> pa.Table:
    write_table(log, folder / "t.parquet", since_ms=None, until_ms=until_ms, seed=0, progress=lambda *_: None)
    return pq.read_table(folder / "t.parquet")


@pytest.mark.parametrize("cut_ms", [CUTS_MS[1], CUTS_MS[2] - 5 * 3_600_000])
def test_the_table_up_to_a_time_is_the_same_cell_by_cell_whatever_comes_later(
    log: MemoryLog, whole_table: pa.Table, tmp_path: Path, cut_ms: int
) -> None:
    short = table_of(log, cut_ms, tmp_path)
    before = whole_table.filter(pc.less(whole_table["received_ms"], cut_ms))
    assert short.column_names == before.column_names
    assert len(short) == len(before) > 1_000
    for name in short.column_names:
        here, there = short[name].combine_chunks(), before[name].combine_chunks()
        if name.startswith("y."):
            open_yet = pc.is_null(here)
            here, there = (each.filter(pc.invert(open_yet)) for each in (here, there))
            assert pc.any(open_yet).as_py()
        if pa.types.is_floating(here.type):
            assert (here.to_numpy().view(np.uint32) == there.to_numpy().view(np.uint32)).all(), name
        else:
            assert here.to_pylist() == there.to_pylist(), name


def test_categories_are_written_as_texts_and_nothing_as_null(whole_table: pa.Table) -> None:
    assert set(whole_table["item.kind"].to_pylist()) == {"video", "product"}
    assert whole_table["item.author"][0].as_py().startswith("a9-")
    assert whole_table["context.surface"].to_pylist().count("feed") > 0
    assert set(whole_table["item.room_type"].to_pylist()) == {None}
    cosines = whole_table["cosine(user.factors,item.factors)"].to_numpy()
    assert len(np.unique(cosines)) > 1_000


def test_a_product_is_a_cosine_times_a_length(whole_table: pa.Table) -> None:
    cosine, product, length = (
        whole_table[name].to_numpy(zero_copy_only=False)
        for name in (
            "cosine(user.factors,item.factors)",
            "product(user.factors,item.factors)",
            "length(item.factors)",
        )
    )
    known = np.isfinite(cosine)
    np.testing.assert_allclose(product[known], (cosine * length)[known], rtol=1e-4, atol=1e-6)
    assert not np.isfinite(product[~known]).any()
    assert np.abs(cosine[known]).max() <= 1 + 1e-6
    assert length.min() >= 0
    assert length[known].std() > 0.1 * length[known].mean()


def test_the_audit_names_the_day_of_factors_and_the_column_of_codes_that_know_the_future(log: MemoryLog) -> None:
    history = read_history(log)
    days = fitted(history, history.last_ms + 1)
    audit_factors(log, [days[2]], UTC_OFFSET_MS)
    leaked = [(days[2][0], days[3][1])]
    with pytest.raises(TrainingError, match="from 2022-04-18 00:00 are not those of the log before"):
        audit_factors(log, leaked, UTC_OFFSET_MS)
    feature_set = default_features(history)
    codes = choose_codes(history, feature_set, CUTS_MS[1])
    audit_codes(log, feature_set, codes, CUTS_MS[1])
    with pytest.raises(TrainingError, match=r"'item\.category' has codes of values seen later"):
        audit_codes(log, feature_set, choose_codes(history, feature_set, CUTS_MS[2]), CUTS_MS[1])


def test_training_stops_when_factors_know_the_catalog_of_later(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(
        history: History, until_ms: int, utc_offset_ms: int, seed: int, progress: Progress
    ) -> list[tuple[int, Factors]]:
        last = tuple(version._replace(row=history.catalog[version.row.item_id]) for version in history.catalog_log)
        return fit_by_day(replace(history, catalog_log=last), until_ms, utc_offset_ms, seed, progress)

    assert train(log, tmp_path).audited > 0
    monkeypatch.setattr(pipeline, "fit_by_day", leaky)
    with pytest.raises(TrainingError, match="The factors that serve from"):
        train(log, tmp_path)
