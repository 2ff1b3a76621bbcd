"""The judge of pages can fail: an engine that forgets a rule is found out, one that keeps them all is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rules import judged
from ranking.candidates.quality import Quality
from ranking.candidates.rules import Rules
from ranking.request.generation import Generation

PAGES = 500


def _of_generation(name: str, forgets: Callable[..., object]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(Generation, name, forgets)


FORGETS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "against rule": lambda patch: patch.setattr(
        Rules, "broken", lambda _, __, ___, rows: np.zeros(len(rows), np.uint8)
    ),
    "blocked by": lambda patch: patch.setattr(Quality, "blocked", lambda _, rows, __: np.zeros(len(rows), np.bool_)),
    "a dead room": _of_generation("showable", lambda _, rows, *__: np.ones(len(rows), np.bool_)),
}


@pytest.fixture
def world(tiny_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_home, tmp_path / "world")


def test_an_engine_that_keeps_the_rules_is_found_to_keep_them(world: Path) -> None:
    wrong, took, counted = judged(world, PAGES)
    assert wrong == []
    assert len(took) == PAGES
    # What never happened was not tried.
    reasons = ("hidden", "dead_room", "rule task", "rule carts", "rule mall", "rule links", "gone", "quality")
    assert all(counted[f"dropped: {reason}"] for reason in reasons)
    assert counted["boosted"]


@pytest.mark.parametrize("what", FORGETS)
def test_an_engine_that_forgets_a_rule_is_found_out(what: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORGETS[what](monkeypatch)
    wrong, _, _ = judged(world, PAGES)
    assert any(what in one for one in wrong)
