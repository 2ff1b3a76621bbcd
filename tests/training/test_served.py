"""Whether served calibration holds: what is as the report said raises nothing, what is far off does."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from features.live import HomeLog
from ranking.bundle import Bundle, current, load
from ranking.calibration import Calibrator
from seeds.history import BUNDLE
from training.bootstrap import Bootstrap
from training.findings import Findings, find
from training.served import served
from training.stretch import Read, Stretch


@pytest.fixture(scope="module")
def known(tiny_home: Path) -> tuple[Bundle, Findings]:
    bundle = load(current(tiny_home / "bundles"))
    with HomeLog(tiny_home / "log", writer=False) as log:
        read = Read.of(bundle, Stretch.read(log, bundle.trained.until_ms), lambda _done, _of: None)
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
    with HomeLog(tiny_home / "log", writer=False) as log:
        since_ms = bundle.trained.until_ms
        held = served(log, bundle, since_ms, findings, lambda _done, _of: None)
        off = served(log, named(halved(bundle)), since_ms, findings, lambda _done, _of: None)
        other = halved(bundle)
        assert served(log, other, since_ms, findings, lambda _done, _of: None) == ()
        assert served(log, bundle, 10**13, findings, lambda _done, _of: None) == ()
    assert {one.head for one in held} >= {"click", "complete"}
    assert not any(one.drifted for one in held)
    assert all(one.drifted for one in off)
    assert off[0].ratio == pytest.approx(held[0].ratio / 2)
    assert held[0].low < held[0].ratio < held[0].high
