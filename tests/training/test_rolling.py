"""Judging training itself: a bundle a day, pooled."""

import numpy as np
import pytest

from features.errors import TrainingError
from features.log import DAY_MS
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, taste_log
from training.baselines import BASELINES
from training.bootstrap import Bootstrap
from training.duration import duration_rows
from training.evaluate import judge, rows_of, to_json
from training.pipeline import learn
from training.progress import quiet
from training.rolling import pooled, rolling


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log(slates=800)


def test_every_day_is_judged_by_what_was_learned_before_it_and_no_row_is_lost(log: MemoryLog) -> None:
    starts = [MIDNIGHT_MS + day * DAY_MS for day in (2, 3)]
    bundles = [learn(log, until_ms=start).bundle for start in starts]
    parts = [
        judge(log, bundle, before_ms=start + DAY_MS, baselines=BASELINES)
        for bundle, start in zip(bundles, starts, strict=True)
    ]
    both = pooled(parts)
    assert len(both.user) == sum(len(part.user) for part in parts) == len(both.gain) == len(both.mature)
    assert len(np.unique(both.slate)) == sum(len(np.unique(part.slate)) for part in parts)
    for part, start in zip(parts, starts, strict=True):
        assert (part.labels.begins >= start).all()
        assert (part.labels.begins < start + DAY_MS).all()
    assert both.mature[: len(parts[0].user)].all()  # the first day's windows closed in the second
    rows = rolling(log, 2, resamples=100)
    again = [*rows_of(both, Bootstrap(100), quiet), *duration_rows(both, Bootstrap(100))]
    assert to_json(rows) == to_json(again)
    ours = next(row for row in rows if (row.system, row.head, row.metric) == ("huozhao", "click", "gauc"))
    beside = next(row for row in rows if row.metric == "gauc_diff_vs_popularity" and row.head == "click")
    each = [next(r for r in rows_of(part, Bootstrap(1), quiet) if r.metric == "gauc") for part in parts]
    assert ours.pairs == sum(row.pairs for row in each)
    assert beside.p_value is not None
    assert beside.p_value <= 0.05
    assert ours.value > 0.6


@pytest.mark.parametrize("days", [0, 9])
def test_days_that_are_not_there_are_refused(log: MemoryLog, days: int) -> None:
    with pytest.raises(TrainingError):
        rolling(log, days)
