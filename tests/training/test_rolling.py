"""Judging training itself: a bundle a day, pooled."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from features.errors import TrainingError
from features.logs.log import DAY_MS
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, taste_log
from training.baselines.systems import BASELINES
from training.judging.bootstrap import Bootstrap
from training.judging.duration import duration_rows
from training.judging.evaluate import judge, rows_of, to_json
from training.judging.kept import digest_of, get
from training.judging.rolling import pooled, rolling
from training.learning.grower import Growth
from training.learning.pipeline import learn
from training.learning.recipe import Recipe
from training.progress import quiet


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log(slates=800)


@pytest.fixture(scope="module")
def rolled(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """The figures of the last two days, and the folder that keeps them."""
    folder = tmp_path_factory.mktemp("rolled")
    return to_json(rolling(log, 2, resamples=100, keep=folder)), folder


def test_every_day_is_judged_by_what_was_learned_before_it_and_no_row_is_lost(
    log: MemoryLog, rolled: tuple[bytes, Path]
) -> None:
    starts = [MIDNIGHT_MS + day * DAY_MS for day in (2, 3)]
    bundles = [learn(log, Recipe(until_ms=start)).bundle for start in starts]
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
    rows = [*rows_of(both, Bootstrap(100), quiet), *duration_rows(both, Bootstrap(100))]
    assert to_json(rows) == rolled[0]
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


def test_a_run_that_was_stopped_goes_on_with_the_day_it_had_come_to(
    log: MemoryLog, rolled: tuple[bytes, Path], tmp_path: Path
) -> None:
    rows, folder = rolled
    kept = Path(shutil.copytree(folder, tmp_path / "rolling"))
    first, second = sorted(kept.iterdir())
    second.write_bytes(second.read_bytes()[:1000])
    told: list[str] = []
    again = rolling(log, 2, resamples=100, keep=kept, progress=lambda stage, done, of: told.append(stage))
    assert to_json(again) == rows
    assert {stage for stage in told if stage.startswith("day 1")} == {"day 1 of 2: kept"}
    assert "day 2 of 2: fitting heads" in told
    assert second.stat().st_size == (folder / second.name).stat().st_size
    day = (int(first.stem), int(first.stem) + DAY_MS)
    digest = digest_of(log.end(), day, Recipe())
    assert get(first, digest) is not None
    others = [(log.end() + 1, Recipe()), (log.end(), Recipe(seed=1)), (log.end(), Recipe(growth=Growth(seeds=2)))]
    for end, recipe in others:
        assert digest_of(end, day, recipe) != digest
        assert get(first, digest_of(end, day, recipe)) is None
