"""How much of a page there is time for: what is left of a request's time, what stages cost lately, and the rungs.

Time comes from outside: a budget is asked what is left, and nothing here reads a clock.
"""

from collections.abc import Callable, Mapping, Sequence

from features.errors import HuozhaoError
from features.types import ByteArray
from ranking.api import Level

FEED: dict[Level, tuple[str, ...]] = {
    "full": ("retrieve", "score", "finish"),
    "light": ("retrieve", "light", "finish"),
    "popular": ("popular", "finish"),
    "last": ("last", "finish"),
}
"""What a page of each rung is made by, best rung first; the last is taken whatever is left."""
RANK: dict[Level, tuple[str, ...]] = {
    "full": ("retrieve", "score", "finish"),
    "light": ("retrieve", "light", "finish"),
    "given": ("finish",),
}
"""The same, of items that are given."""

OF_MEAN, OF_SPREAD, SPREADS = 1 / 8, 1 / 4, 4.0
FORGIVEN = 0.98
"""A stage that was refused is thought so much cheaper the next time: one slow answer must not bar a rung for good."""


class AnsweredError(HuozhaoError):
    """A page came too late: another is the answer to its request."""


class Budget:
    """What is left of a request's time, and where it went.

    Parameters
    ----------
    left_ms : callable, optional
        Gives milliseconds until the answer is due, below 0 when it is late; without it there is no end.
    claim : callable, optional
        Asked when a page is ready and before it has any effect: whether it is the answer to its request. By default
        it is.

    Attributes
    ----------
    took_ms : dict of str to float
        By stage; empty without a ``left_ms``.
    sources : ByteArray
        The source (n,) of each candidate that was found, by its place in ``Recall.names``.
    """

    __slots__ = ("_before", "_claim", "left_ms", "sources", "took_ms")

    def __init__(self, left_ms: Callable[[], float] | None = None, claim: Callable[[], bool] | None = None) -> None:
        self.left_ms = left_ms
        self._claim = claim
        self.took_ms: dict[str, float] = {}
        self.sources: ByteArray | None = None
        self._before = left_ms() if left_ms else 0.0

    def claim(self) -> None:
        """Say that a page is ready.

        Raises
        ------
        AnsweredError
            If another was given as the answer meanwhile.
        """
        if self._claim and not self._claim():
            raise AnsweredError("The request was answered meanwhile.")

    def has_time_for(self, times: float) -> bool:
        """Whether so many times what has passed since the last stage fits into what is left."""
        if self.left_ms is None:
            return True
        left = self.left_ms()
        return times * (self._before - left) <= left

    def lap(self, stage: str) -> None:
        """Note that a stage is over: it took what has passed since the one before."""
        if self.left_ms:
            left = self.left_ms()
            self.took_ms[stage] = self._before - left
            self._before = left


class Ladder:
    """What stages cost, learned from every request: a running mean and four times the running mean deviation.

    This is the timer of Jacobson, Congestion avoidance and control (1988). Threads may lose each other's lesson.

    Parameters
    ----------
    rungs : mapping of Level to tuple of str
        Best first, each with its stages.
    """

    def __init__(self, rungs: Mapping[Level, tuple[str, ...]]) -> None:
        self._rungs = rungs
        self._last: Level = list(rungs)[-1]
        self._costs: dict[str, tuple[float, float]] = {}

    def learn(self, budget: Budget, size: int = 1) -> None:
        """Take in what the stages of a request took, for each of ``size`` things."""
        for stage, took_ms in budget.took_ms.items():
            each = took_ms / size
            if stage not in self._costs:
                self._costs[stage] = (each, each / 4)
                continue
            mean, spread = self._costs[stage]
            off = each - mean
            self._costs[stage] = (mean + OF_MEAN * off, spread + OF_SPREAD * (abs(off) - spread))

    def cost_ms(self, stage: str) -> float:
        """What a stage may take of one thing; 0 where it was never seen."""
        mean, spread = self._costs.get(stage, (0.0, 0.0))
        return mean + SPREADS * spread

    def rung(self, budget: Budget, passed: Sequence[str] = (), size: int = 1) -> Level:
        """The best rung whose stages, but for those that are passed, fit into what is left; else the last.

        Parameters
        ----------
        budget : Budget
        passed : sequence of str
            Stages that are over.
        size : int
            How many things the stages have before them, as ``learn`` was told.
        """
        if budget.left_ms is None:
            return "full"
        left = budget.left_ms()
        for level, stages in self._rungs.items():
            ahead = [stage for stage in stages if stage not in passed]
            if size * sum(map(self.cost_ms, ahead)) <= left:
                return level
            if level != self._last:
                self._forgive(ahead)
        return self._last

    def _forgive(self, stages: Sequence[str]) -> None:
        for stage in stages:
            if stage in self._costs:
                mean, spread = self._costs[stage]
                self._costs[stage] = (FORGIVEN * mean, FORGIVEN * spread)
