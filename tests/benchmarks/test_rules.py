"""The judge of pages can fail: an engine that forgets a rule is found out, one that keeps them all is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.rules import judged
from features.state import FeatureState
from features.types import BoolArray, ByteArray, IntArray, RowArray
from ranking.candidates import eligibility, suppression
from ranking.candidates.quality import Quality
from ranking.candidates.rules import Rules
from ranking.mixing.boosts import Lift, Purse, lift
from ranking.mixing.decided import Decisions
from ranking.mixing.leases import Ledger
from ranking.mixing.mixer import NONE, mix
from ranking.policy import Bound, Suppress
from ranking.policy.boosts import Boost
from ranking.policy.dates import Dated
from ranking.request import making, pages
from ranking.request.generation import Generation
from ranking.types import Bounded, Query, Scored, Slate

PAGES = 500


def _keys(of: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Count nothing for the bounds of a kind."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        counts = Decisions._keys

        def forgetful(
            self: Decisions, bounds: tuple[Bound, ...], rows: RowArray, sells: BoolArray, now_ms: int
        ) -> RowArray:
            keys = counts(self, bounds, rows, sells, now_ms)
            keys[[bound.of == of for bound in bounds]] = 0
            return keys

        monkeypatch.setattr(Decisions, "_keys", forgetful)

    return patch


def _again(forgotten: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Leave one reason for not showing something again out."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        judge = suppression.suppressed

        def forgetful(state: FeatureState, rule: Suppress, query: Query, rows: RowArray) -> tuple[ByteArray, IntArray]:
            codes, at = judge(state, rule, query, rows)
            codes[codes == suppression.NAMES.index(forgotten)] = 0
            return codes, at

        monkeypatch.setattr(suppression, "suppressed", forgetful)

    return patch


def _without_floors(scored: Scored, boosts: tuple[Boost, ...], ledger: Purse) -> Lift:
    return lift(scored, tuple(msgspec.structs.replace(boost, floor=0.0) for boost in boosts), ledger)


def _backwards(bounds: Bounded, order: IntArray, count: int, begun: IntArray = NONE) -> tuple[Slate, tuple[str, ...]]:
    """Fill a page within bounds that give way from the last to the first."""
    turned = Bounded(bounds.names[::-1], bounds.keys[::-1].copy(), bounds.limits[::-1].copy())
    return mix(turned, order, count, begun)


def _spend_freely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "take", lambda _, __, wanted, ___: wanted)
    monkeypatch.setattr(Ledger, "give_back", lambda *_: None)


def _too_late(self: Dated, now_ms: int, holds: Callable[[Dated, int], bool] = Dated.holds) -> bool:
    return holds(self, now_ms - 1)


FORGETS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "dated rules": (
        "against rule",
        lambda patch: patch.setattr(Rules, "broken", lambda _, __, ___, rows: np.zeros(len(rows), np.uint8)),
    ),
    "the first millisecond of a rule": ("against rule", lambda patch: patch.setattr(Dated, "holds", _too_late)),
    "quality floors": (
        "blocked by",
        lambda patch: patch.setattr(Quality, "blocked", lambda _, rows, __: np.zeros(len(rows), np.bool_)),
    ),
    "the last check": (
        "a dead room",
        lambda patch: patch.setattr(Generation, "showable", lambda _, rows, *__: np.ones(len(rows), np.bool_)),
    ),
    "what a person hid": (
        "was hidden",
        lambda patch: patch.setattr(eligibility, "_hidden_by", lambda _, __, rows: np.zeros(len(rows), np.bool_)),
    ),
    "the session": ("shown again: session", _again("session")),
    "what was seen": ("shown again: seen", _again("seen")),
    "what was bought": ("shown again: bought", _again("bought")),
    "head hosts": ("breaks head_host", _keys("head_host")),
    "merchants": ("breaks merchant", _keys("merchant")),
    "commerce": ("breaks commerce 25/day", _keys("commerce")),
    "the order of bounds": ("out of order", lambda patch: patch.setattr(pages, "mix", _backwards)),
    "floors of boosts": ("below the floor", lambda patch: patch.setattr(making, "lift", _without_floors)),
    "budgets": ("overspent", _spend_freely),
    "who switched it off": (
        "two people get two pages",
        lambda patch: patch.setattr(FeatureState, "_apply_control", lambda *_: None),
    ),
}


@pytest.fixture
def world(tiny_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_home, tmp_path / "world")


def test_an_engine_that_keeps_the_rules_is_found_to_keep_them(world: Path) -> None:
    wrong, took, counted = judged(world, PAGES)
    assert wrong == []
    assert len(took) >= PAGES
    # What never happened was not tried.
    reasons = ("hidden", "dead_room", "rule task", "rule carts", "rule mall", "rule links", "gone", "quality")
    assert all(counted[f"dropped: {reason}"] for reason in reasons)
    assert counted["boosted"]
    assert counted["twins"]
    assert counted["pages that gave way"]


@pytest.mark.parametrize("what", FORGETS)
def test_an_engine_that_forgets_a_rule_is_found_out(what: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, forget = FORGETS[what]
    forget(monkeypatch)
    wrong, _, _ = judged(world, PAGES, until=said)
    assert any(said in one for one in wrong)
