"""What every ratio is held to: the bar it should reach and the aim beyond it. Missing one is said, never a failure."""

import operator
from typing import Literal, NamedTuple

Sense = Literal["<=", ">="]


class Bar(NamedTuple):
    """A bar, the aim beyond it, and which side of both is good; of some there is an aim alone."""

    sense: Sense
    bar: float | None
    aim: float | None = None

    def verdict(self, ratio: float) -> str:
        """How a ratio stands: ``aim met``, ``met`` or ``missed``; ``aim missed`` where there is no bar."""
        as_good = operator.le if self.sense == "<=" else operator.ge
        if self.aim is not None and as_good(ratio, self.aim):
            return "aim met"
        if self.bar is None:
            return "aim missed"
        return "met" if as_good(ratio, self.bar) else "missed"


BARS = {
    "score.vs_lightgbm": Bar(">=", 15, 30),
    "score.as_served_vs_lightgbm": Bar(">=", 25, 50),
    "score.vs_best_peer": Bar(">=", 6, 15),
    "score.load_seconds": Bar("<=", 1.5),
    "index.products_recall_at_100": Bar(">=", 0.95),
    "index.products_time_ratio": Bar("<=", 1.3),
    "index.filtered_1pct_recall": Bar(">=", 0.99),
    "index.filtered_time_ratio": Bar("<=", 2),
    "index.filtered_5pct_recall": Bar(">=", 0.99),
    "index.filtered_5pct_time_ratio": Bar("<=", 2.5),
    "index.filtered_10pct_recall": Bar(">=", 0.99),
    "index.filtered_10pct_time_ratio": Bar("<=", 2.5),
    "index.adds_vs_hnswlib": Bar(">=", 20),
    "index.adds_vs_hnswlib_cheapest": Bar(">=", 20),
    "index.p99_while_training": Bar("<=", 1.5),
    "rerank.dpp_ms": Bar("<=", 0.3),
    "feed.vs_naive": Bar(">=", 20, 40),
    "feed.p50_ms": Bar("<=", None, 3),
    "feed.feeds_per_second_per_core": Bar(">=", None, 300),
    "feed.light_5000_over_500": Bar("<=", None, 2),
    "feed.p99_over_p50": Bar("<=", 4),
    "feed.memory_gib": Bar("<=", 4),
    "feed.bytes_a_user": Bar("<=", 2_048),
    "feed.bytes_an_item": Bar("<=", 1_024),
    "http.overhead_ms": Bar("<=", 0.4),
    "replay.seconds_of_10m": Bar("<=", 60),
    "train.minutes": Bar("<=", 8),
    "train.memory_gib": Bar("<=", 4),
    "loop.static_gap_closed": Bar("<=", 1 / 3),
    "loop.trained_gap_closed": Bar(">=", 0.5),
    "loop.explore_gain_cost": Bar("<=", 0.03),
    "loop.explore_entropy": Bar(">=", 1),
    "loop.discovered_100_vs_random": Bar(">=", 2),
    "ingest.events_per_second": Bar(">=", 15_000),
    "live.effect_p99_ms": Bar("<=", 50),
    "faults.acknowledged_lost": Bar("<=", 0),
    "faults.pages_failed": Bar("<=", 0),
    "faults.pages_late": Bar("<=", 0),
    "faults.pages_behind_syncs": Bar("<=", 0),
    "crash.acknowledged_lost": Bar("<=", 0),
    "crash.duplicated": Bar("<=", 0),
    "crash.state_differs": Bar("<=", 0),
    "crash.lost_by_cuts": Bar("<=", 0),
    "crash.answers_before_sync": Bar("<=", 0),
    "fuzz.server_errors": Bar("<=", 0),
    "fuzz.hangs": Bar("<=", 0),
    "fuzz.tracebacks": Bar("<=", 0),
    "fuzz.unknown_answers": Bar("<=", 0),
    "overload.goodput_share": Bar(">=", 0.9),
    "overload.past_deadline_share": Bar("<=", 0.001),
    "overload.past_twice": Bar("<=", 0),
    "soak.dead_rooms": Bar("<=", 0),
    "soak.errors": Bar("<=", 0),
    "soak.deadline_dead_rooms": Bar("<=", 0),
    "soak.deadline_errors": Bar("<=", 0),
    "soak.deadline_late_share": Bar("<=", 0.001),
    "soak.memory_growth": Bar("<=", 0.05),
    "soak.effect_p99_ms": Bar("<=", 50),
    "explore.slots_p": Bar(">=", 1e-4),
    "explore.pages_p": Bar(">=", 1e-4),
    "explore.page_ms": Bar("<=", 0.2),
    "rules.dead_rooms": Bar("<=", 0),
    "rules.violations": Bar("<=", 0),
}
"""By the name of the ratio. They are set for full sizes: of a quick run the verdicts say little."""


def judged(name: str, ratio: float) -> tuple[str, str, str]:
    """The bar and the aim of a ratio and how it stands; empty where it has none."""
    bar = BARS.get(name)
    if bar is None:
        return "", "", ""
    said = ["" if held is None else f"{bar.sense} {held:g}" for held in (bar.bar, bar.aim)]
    return said[0], said[1], bar.verdict(ratio)
