"""How fast a log of the simulated world is made, folded, and replayed into a training table."""

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.report import Report, peak_gib
from features.factors import Factors
from features.history import History, Slates, read_history, slates_of
from features.layout import Layout
from features.logs.live import HomeLog
from features.reader import Reader
from features.replay import Readers, replay
from features.state import FeatureState
from seeds.world import Size, World
from training.learning.examples import choose_codes, default_features

FULL = Size(users=29_000, hosts=1_400, videos=44_000, products=13_000, days=5)
"""About ten million records."""


def run(*, quick: bool) -> Report:
    """The small world when quick, else ten million records."""
    return measure(Size.small() if quick else FULL)


def measure(size: Size) -> Report:
    """Records a second of each step; a replay reads the next records in a second thread."""
    report = Report("replay")
    with tempfile.TemporaryDirectory() as folder, HomeLog(Path(folder), writer=True) as log:
        spent: list[float] = []
        log.import_tables(_timed(World.create(0, size).log(), spent))
        records = log.end()
        _note(report, "simulate", records, sum(spent))
        started = time.perf_counter()
        history = read_history(log)
        _note(report, "read", records, time.perf_counter() - started)
        feature_set = default_features(history)
        _fold(log, feature_set.layout, 1)  # compiles
        started = time.perf_counter()
        folded = _fold(log, feature_set.layout)
        _note(report, "fold", records, time.perf_counter() - started)
        slates = slates_of(history)
        reader = Reader(feature_set, choose_codes(history, feature_set, history.last_ms), Factors.empty(32))
        _replayed(report, log, history, slates, reader)
    if folded != records:
        report.faults.append(f"{folded} of {records} records were folded")
    return report


def _replayed(report: Report, log: HomeLog, history: History, slates: Slates, reader: Reader) -> None:
    first = np.arange(len(slates)) < 1
    replay(log, history, slates, Readers.always(reader), first)  # compiles
    started = time.perf_counter()
    table = replay(log, history, slates, Readers.always(reader))
    _note(report, "replay", log.end(), time.perf_counter() - started)
    impressions, columns = table.shape
    report.rows[-1] |= {"impressions": impressions, "columns": columns, "peak_gib": peak_gib()}
    report.ratios["replay.seconds_of_10m"] = 1e7 / float(report.rows[-1]["per_second"])
    if impressions != len(slates):
        report.faults.append(f"{impressions} rows were made of {len(slates)} impressions")


def _timed(tables: Iterator[pa.Table], spent: list[float]) -> Iterator[pa.Table]:
    while True:
        started = time.perf_counter()
        table = next(tables, None)
        spent.append(time.perf_counter() - started)
        if table is None:
            return
        yield table


def _fold(log: HomeLog, layout: Layout, batches: int | None = None) -> int:
    state = FeatureState(layout)
    for batch in islice(log.read(), batches):
        state.fold(batch)
    return state.offset


def _note(report: Report, step: str, records: int, seconds: float) -> None:
    report.rows.append(
        {"system": "huozhao", "step": step, "records": records, "seconds": seconds, "per_second": records / seconds}
    )
