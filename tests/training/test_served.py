"""Whether served calibration holds: what is as the report said raises nothing, what is far off does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from features import snapshot
from features.logs.live import HomeLog
from features.logs.log import DAY_MS
from features.replay import quiet
from features.state import FeatureState
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.calibration import Calibrator
from ranking.bundles.pointer import current
from seeds.history import BUNDLE
from training.judging.bootstrap import Bootstrap
from training.judging.stretch import Read, Stretch
from training.reports.findings import Findings, find
from training.served import served


@pytest.fixture(scope="module")
def known(tiny_home: Path) -> tuple[Bundle, Findings]:
    bundle = load(current(tiny_home / "bundles"))
    with HomeLog(tiny_home / "log", writer=False) as log:
        read = Read.of(bundle, Stretch.read(log, bundle.trained.until_ms), quiet)
    return named(bundle), find(bundle, {}, read, boot=Bootstrap(100))


def named(bundle: Bundle) -> Bundle:
    """The bundle by the name of what the simulated world's pages say they were ordered by."""
    vars(bundle)["version"] = BUNDLE
    return bundle


def halved(bundle: Bundle) -> Bundle:
    """The bundle with calibrators that say half of what they said."""
    heads = {
        head: msgspec.structs.replace(
            one,
            calibrators={
                kind: Calibrator(c.base_rate / 2, c.margins, tuple(p / 2 for p in c.probabilities))
                for kind, c in one.calibrators.items()
            },
        )
        for head, one in bundle.heads.items()
    }
    return replace(bundle, heads=heads)


def test_calibration_as_in_the_report_is_no_drift_and_half_of_it_is(
    tiny_home: Path, known: tuple[Bundle, Findings]
) -> None:
    bundle, findings = known
    states = tiny_home / "state"
    with HomeLog(tiny_home / "log", writer=False) as log:
        since_ms = bundle.trained.until_ms
        held = served(log, bundle, since_ms, findings, states, quiet)
        off = served(log, named(halved(bundle)), since_ms, findings, states, quiet)
        other = halved(bundle)
        assert served(log, other, since_ms, findings, states, quiet) == ()
        assert served(log, bundle, 10**13, findings, states, quiet) == ()
    assert {one.head for one in held} >= {"click", "complete"}
    assert not any(one.drifted for one in held)
    assert all(one.drifted for one in off)
    assert off[0].ratio == pytest.approx(held[0].ratio / 2)
    assert held[0].low < held[0].ratio < held[0].high


def test_of_a_long_log_the_last_days_alone_are_read_and_say_the_same(
    tiny_home: Path, known: tuple[Bundle, Findings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, findings = known
    since_ms = bundle.trained.until_ms
    with HomeLog(tiny_home / "log", writer=False) as log:
        whole = Read.of(bundle, Stretch.read(log, since_ms), quiet)
        ratios = {one.head: one.ratio for one in served(log, bundle, since_ms, findings, tmp_path, quiet)}
        for head, ratio in ratios.items():
            chosen, y = whole.mature(head), whole.labels.of(head)
            assert whole.probabilities[chosen, whole.column(head)].sum() / y[chosen].sum() == pytest.approx(ratio)
        # From a snapshot no record before it is read at all.
        first = log.since(since_ms - DAY_MS // 24)
        assert first > 0
        state = FeatureState(bundle.feature_set.layout)
        for batch in log.read(0, first):
            state.fold(batch)
        snapshot.save(state, tmp_path)
        read: list[int] = []

        def noted(start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
            read.append(start)
            return HomeLog.read(log, start, stop)

        monkeypatch.setattr(log, "read", noted)
        again = {one.head: one.ratio for one in served(log, bundle, since_ms, findings, tmp_path, quiet)}
        # However long ago it was promoted, a week is looked at.
        monkeypatch.setattr("training.served.DAYS", 1 / 24)
        late = served(log, bundle, 0, findings, tmp_path, quiet)
    assert again == ratios
    assert min(read) >= first
    assert all(one.positives < whole.labels.of(one.head).sum() / 4 for one in late)
