"""Feature rows of 1,000 candidates read from a big state, beside plain look-ups of as many finished rows."""

from collections.abc import Callable
from itertools import cycle

import numpy as np

from benchmarks.market import NOW_MS, Market, reader_of, sample_rows, state_of, train
from benchmarks.report import Report, interleaved, quantiles, times_as_long
from features.reader import Reader
from features.records import Context
from features.state import FeatureState
from features.types import AnyArray, FloatArray, RowArray
from ranking.forest.item_codes import ItemCodes
from ranking.forest.trees import Forest

CANDIDATES, COLUMNS = 1_000, 64
FULL = Market(100_000, 900_000, 100_000, 4_000_000, samples=4_000, trees=20, leaves=31)
QUICK = Market(10_000, 90_000, 4_000, 200_000, samples=4_000, trees=20, leaves=31)


def run(*, quick: bool) -> Report:
    """1M items, 100,000 when quick."""
    return measure(QUICK, 100) if quick else measure(FULL, 1_000)


def measure(market: Market, times: int) -> Report:
    """Reads and look-ups in turn. The look-ups only copy what nobody keeps up to date: a floor, not a peer."""
    report = Report("hydrate")
    state, reader = state_of(market), reader_of(market)
    reader.catch_up(state, state.described())
    bundle = train(market, reader, sample_rows(market, reader, state))
    kept = ItemCodes(Forest.from_model_texts(bundle.models), reader)
    kept.catch_up(state, np.arange(len(state.items), dtype=np.int32))
    rng = np.random.default_rng(5)
    runs = _runs(state, reader, kept, rng)
    # Each draws its candidates anew, or caches would tell of the last turn; all pay for the draw alike.
    spent = interleaved([*runs.values()], times)
    for (system, read), took in zip(runs.items(), spent, strict=True):
        per_second = 1e3 * CANDIDATES / float(np.median(took))
        size = {"items": len(state.items) - 1, "rows": CANDIDATES, "columns": read().shape[1]}
        report.rows.append({"system": system, **size, "rows_per_second": per_second, **quantiles(took)})
    report.keep("hydrate.vs_take", *times_as_long(spent[0], spent[2]))
    report.keep("hydrate.as_served_vs_take", *times_as_long(spent[1], spent[2]))
    _check(report, state, _drawn(state, rng), lambda rows: reader.rows(state, 1, rows, NOW_MS, Context("feed")))
    return report


def _runs(
    state: FeatureState, reader: Reader, kept: ItemCodes, rng: np.random.Generator
) -> dict[str, Callable[[], AnyArray]]:
    """Ways to the rows of random candidates."""
    users_of = cycle(rng.integers(1, len(state.users), 10_000).tolist())
    matrix = rng.random((len(state.items), COLUMNS), np.float32)
    columns = np.asfortranarray(matrix)
    return {
        "huozhao: read from the state": lambda: reader.rows(
            state, next(users_of), _drawn(state, rng), NOW_MS, Context("feed")
        ),
        "huozhao: as served, codes and counters": lambda: (
            kept.coded(state, next(users_of), _drawn(state, rng), NOW_MS, Context("feed")).table.T
        ),
        "numpy: take, row-major": lambda: matrix.take(_drawn(state, rng), axis=0),
        "numpy: index, column-major": lambda: columns[_drawn(state, rng)],
    }


def _drawn(state: FeatureState, rng: np.random.Generator) -> RowArray:
    return rng.integers(1, len(state.items), CANDIDATES).astype(np.int32)


def _check(report: Report, state: FeatureState, rows: RowArray, read: Callable[[RowArray], FloatArray]) -> None:
    """A row must not depend on the rows beside it, and must say what the catalog says."""
    whole = read(rows)
    if not np.array_equal(whole[::7], read(rows[::7]), equal_nan=True):
        report.faults.append("a feature row depends on the rows read with it")
    if not np.array_equal(whole[:, 0], state.arrays.items.numbers[rows, 0]):
        report.faults.append("the first column is not the catalog's price")
