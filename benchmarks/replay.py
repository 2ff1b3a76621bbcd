"""How fast a log of the simulated world is made, folded, and replayed into a training table."""

import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from features.factors import Factors
from features.history import read_history, slates_of
from features.live import HomeLog
from features.reader import Reader
from features.replay import Readers, replay
from features.schema import Layout
from features.state import FeatureState
from seeds.world import Size, World
from training.examples import choose_codes, default_features


def run(*, quick: bool) -> Report:
    """Records a second of each step; small world when quick, else 1M events and more."""
    report = Report("replay")
    with tempfile.TemporaryDirectory() as folder, HomeLog(Path(folder), writer=True) as log:
        world = World.create(0, Size.small() if quick else Size.standard())
        started = time.perf_counter()
        tables = list(world.log())
        _note(report, "simulate", sum(map(len, tables)), started)
        log.import_tables(tables)
        history = read_history(log)
        feature_set = default_features(history)
        _fold(log, feature_set.layout)  # compiles
        started = time.perf_counter()
        _fold(log, feature_set.layout)
        _note(report, "fold", log.end(), started)
        slates = slates_of(history)
        reader = Reader(feature_set, choose_codes(history, feature_set, history.last_ms), Factors.empty(32))
        started = time.perf_counter()
        table = replay(log, history, slates, Readers.always(reader))
        _note(report, "replay", log.end(), started)
        report.rows[-1] |= {"impressions": len(table), "columns": table.shape[1]}
    return report


def _fold(log: HomeLog, layout: Layout) -> None:
    state = FeatureState(layout)
    for batch in log.read():
        state.fold(batch)


def _note(report: Report, step: str, records: int, started: float) -> None:
    seconds = time.perf_counter() - started
    report.rows.append(
        {"system": "huozhao", "step": step, "records": records, "seconds": seconds, "per_second": records / seconds}
    )
