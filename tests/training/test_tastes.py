"""Tastes: what is learned of who answers what, and how a person's is read from what the row counts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import Taste
from features.factors import Factors
from features.fold.cholesky import inverse_diagonal, solve
from features.history import read_history
from features.logs.log import Stored
from features.reader import Codes, Reader
from features.records import Action, Context, Control, Event, Item, Kind, Record, User
from features.schema import FeatureSet
from features.state import FeatureState
from features.types import FloatArray
from tests.random_log import START_MS, MemoryLog
from training.learning.factors import fit_by_day
from training.learning.tastes import LEAST_SHOWN

MINUTE_MS = 60_000
PEOPLE, ITEMS, SHOWN = 30, 24, 60
LIKES, OTHER = 0.7, 0.1
CUP, BOOK = "茶杯", "旧书"
STANDARD = FeatureSet((Taste(),))


def item(name: str, words: str, author: str = "") -> Item:
    return Item(name, START_MS, Kind.VIDEO, title=words, author_id=author, duration_ms=10_000)


def shown(number: int, user: int, at_ms: int, name: str, clicks: bool) -> list[tuple[int, Record]]:
    """An impression that was looked at; a click, or none, and a watch that is long after a click alone."""
    acts = [(Action.IMPRESSION, 0), *[(Action.CLICK, 0)] * clicks, (Action.WATCH, 9_000 if clicks else 500)]
    return [
        (
            at_ms + k,
            Event(f"{number}-{action}", at_ms + k, name, action, f"u{user}", value=value, request_id=f"r{number}"),
        )
        for k, (action, value) in enumerate(acts)
    ]


@pytest.fixture(scope="module")
def records() -> list[tuple[int, Record]]:
    """Women click what author a makes of cups, men what b makes of books; every third person says neither."""
    rng = np.random.default_rng(0)
    found: list[tuple[int, Record]] = [
        (START_MS, item(f"i{n}", f"{(CUP, BOOK)[n % 2]}{n}", "ab"[n % 2])) for n in range(ITEMS)
    ]
    for user in range(PEOPLE):
        gender = "" if user % 3 == 0 else ("female", "male")[user % 2]
        found.append((START_MS, User(f"u{user}", START_MS, gender=gender)))
    for number in range(PEOPLE * SHOWN):
        user, n = number % PEOPLE, int(rng.integers(ITEMS))
        clicks = bool(rng.random() < (LIKES if user % 2 == n % 2 else OTHER))
        found += shown(number, user, START_MS + MINUTE_MS * (1 + number), f"i{n}", clicks)
    return found


def log_of(records: list[tuple[int, Record]]) -> MemoryLog:
    return MemoryLog([Stored(at, *one) for at, one in enumerate(records)], 4096)


def fitted(log: MemoryLog, until_ms: int) -> Factors:
    return fit_by_day(read_history(log), until_ms, 0, 0, lambda done, of: None)[-1][1]


def read(log: MemoryLog, factors: Factors, user: str, names: list[str]) -> FloatArray:
    """The column of a person's taste at the end of a log."""
    state, reader = FeatureState(STANDARD.layout), Reader(STANDARD, Codes({}), factors)
    for batch in log.read():
        state.fold(batch)
    reader.catch_up(state, state.take_changed())
    rows = state.items.find_all(names)
    return reader.rows(state, state.users.find(user), rows, log.stored[-1].received_ms, Context())[:, 0]


def test_a_person_is_known_by_hosts_and_a_new_item_by_host_and_words(records: list[tuple[int, Record]]) -> None:
    end_ms = records[-1][0] + 1
    factors = fitted(log_of(records), end_ms)
    new = [item("cup", CUP), item("book", BOOK), item("by a", "x", "a"), item("by b", "x", "b"), item("nothing", "")]
    log = log_of([*records, *((end_ms, one) for one in new)])
    names = ["i0", "i1", "cup", "book", "by a", "by b"]
    even, odd = (read(log, factors, user, names) for user in ("u0", "u3"))
    assert (even[::2] > 0.2).all()
    assert (even[1::2] < -0.2).all()
    assert (odd[::2] < -0.2).all()
    assert (odd[1::2] > 0.2).all()
    assert np.abs(read(log, factors, "u0", ["nothing"])) < 0.1
    assert not read(log, factors, "nobody", names).any()


def test_who_clears_the_history_is_known_by_gender_alone(records: list[tuple[int, Record]]) -> None:
    end_ms = records[-1][0] + 1
    factors = fitted(log_of(records), end_ms)
    names = [f"i{n}" for n in range(ITEMS)]
    cleared = log_of([*records, *((end_ms, Control(user, end_ms, "clear_history")) for user in ("u0", "u2", "u4"))])
    unsaid, woman, other = (read(cleared, factors, user, names) for user in ("u0", "u2", "u4"))
    assert not unsaid.any()
    assert woman.tobytes() == other.tobytes()
    assert woman[::2].mean() > 0.1 > -0.1 > woman[1::2].mean()


def test_a_miss_says_something_and_what_nobody_looked_at_nothing(records: list[tuple[int, Record]]) -> None:
    unseen = [(at, one) for at, one in records if not (isinstance(one, Event) and one.action is not Action.IMPRESSION)]
    log = log_of(unseen)
    tastes = fitted(log, records[-1][0] + 1).tastes
    assert tastes is not None
    assert not len(tastes.of_items.items)
    misses = log_of([*records, *shown(10**6, 0, records[-1][0] + 1, "i0", clicks=False)])
    before, after = (
        read(misses, fitted(one, records[-1][0] + MINUTE_MS), "u0", ["i0"])[0] for one in (log_of(records), misses)
    )
    assert after < before


def test_too_little_is_no_taste(records: list[tuple[int, Record]]) -> None:
    few = records[: ITEMS + PEOPLE + LEAST_SHOWN]
    factors = fitted(log_of(few), few[-1][0] + 1)
    assert np.isnan(read(log_of(few), factors, "u0", ["i0", "i1"])).all()
    assert factors.version == replace(factors, items=factors.items.copy()).version


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_small_systems_are_solved(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(size, size + 2))
    a, x = half @ half.T + 0.1 * np.eye(size), rng.normal(size=size)
    whole, right, diagonal = a.copy(), x.copy(), np.empty(size)
    solve(a, x)
    inverse_diagonal(a, diagonal)
    assert np.allclose(whole @ x, right, atol=1e-8)
    assert np.allclose(diagonal, np.diag(np.linalg.inv(whole)))
