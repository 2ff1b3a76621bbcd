"""Shadow mode: a second bundle scores a share of pages after they went out, and it is told how far it agrees."""

import logging
import os
import queue
from pathlib import Path

import msgspec
import numpy as np

from ranking.agreement import Agreement, Difference
from ranking.bundles.bundle import Bundle
from ranking.engine import Engine
from ranking.mixing.exploration import uniform
from ranking.succession.shadow import Second
from ranking.types import Candidates, Query
from serving.watch import Watch

FILE = "shadow.json"
"""Where a home keeps what was found, for `huozhao models`."""
PATIENCE_S = 0.2
TOLD_EVERY = 500
"""Pages after which it is logged how far the two agree."""

_log = logging.getLogger(__name__)


class Shadow(Watch):
    """Compares in a thread of its own at the lowest priority; a page that comes while another is compared is dropped.

    It ends when another bundle is taken up: promote the second, and there is nothing left to compare. What it read is
    let go of then.

    Parameters
    ----------
    engine : Engine
        Nobody appends to it yet.
    bundle : Bundle
        The second.
    share : float
        Of how many pages.

    Raises
    ------
    BundleError
        If the bundle is of another layout than the one that is served.
    """

    def __init__(self, engine: Engine, bundle: Bundle, share: float) -> None:
        super().__init__("shadow", 0.0)
        self._engine, self._share = engine, share
        second = Second(bundle, engine.generation)
        self._second: Second | None = second
        self._version, self._heads = bundle.version, second.heads
        self._beside = engine.generation.bundle.version
        self._waiting: queue.Queue[tuple[Query, Candidates]] = queue.Queue(maxsize=1)
        self._sums = np.zeros(2 + 2 * len(self._heads))
        self._pages = self._dropped = self._failed = 0
        self._is_nice = False
        engine.watch_pages(self._take, self.agreement)

    def agreement(self) -> Agreement:
        """What was found so far."""
        means = (self._sums / max(self._pages, 1)).round(6).tolist()
        return Agreement(
            bundle=self._version,
            beside=self._beside,
            pages=self._pages,
            dropped=self._dropped,
            failed=self._failed,
            overlap=means[0],
            rank_correlation=means[1],
            heads={
                head: Difference(mean=mean, mean_abs=mean_abs)
                for head, mean, mean_abs in zip(self._heads, means[2::2], means[3::2], strict=True)
            },
        )

    def _take(self, query: Query, found: Candidates) -> None:
        """Let a page wait that went out, if it is of the share; called on its way, and returns at once."""
        if uniform(query.request_id, "shadow") < self._share and len(found.rows):
            try:
                self._waiting.put_nowait((query, found))
            except queue.Full:
                self._dropped += 1

    def _look(self) -> None:
        if not self._is_nice:
            self._is_nice = True
            _lower_priority()
        try:
            query, found = self._waiting.get(timeout=PATIENCE_S)
        except queue.Empty:
            return
        try:
            self._compare(query, found)
        except Exception:  # noqa: BLE001  # it answers nobody: the fault is counted and told
            if not self._failed:
                _log.exception("The shadow bundle %s could not score a page", self._version)
            self._failed += 1

    def _compare(self, query: Query, found: Candidates) -> None:
        if self._second is None:
            return
        one = self._second.compare(self._engine.generation, query, found, self._engine.mutex)
        if one is None:
            self._end(self._second)
            return
        heads = np.stack([one.mean, one.mean_abs], axis=1).ravel()
        self._sums += np.concatenate([[one.overlap, one.rank_correlation], heads])
        self._pages += 1
        if self._pages == 1 or self._pages % TOLD_EVERY == 0:
            self.keep()
            # A warning, so that it is seen where nobody chose what is logged.
            _log.warning("Shadow: %s", msgspec.json.encode(self.agreement()).decode())

    def _end(self, second: Second) -> None:
        """Be told of no page any more, and let go of the second bundle and its vectors."""
        self._engine.watch_pages(None, self.agreement)
        with self._engine.mutex:
            second.leave()
        self._second = None
        self.keep()

    def stop(self) -> None:
        """Return when no page is compared any more; what was found is kept in the home."""
        super().stop()
        if self._second is not None:
            self._end(self._second)

    def keep(self) -> None:
        """Write down what was found so far."""
        draft = self._engine.home / f"{FILE}.draft"
        draft.write_bytes(msgspec.json.encode(self.agreement()))
        draft.rename(self._engine.home / FILE)


def kept(home: Path) -> Agreement | None:
    """What was found in a home the last time, if anything."""
    path = home / FILE
    return msgspec.json.decode(path.read_bytes(), type=Agreement) if path.is_file() else None


def _lower_priority() -> None:
    """Let this thread run when no other wants to, where the system knows priorities of threads."""
    if hasattr(os, "sched_getaffinity"):
        # Of Linux: there a thread has a number and a priority of its own.
        os.setpriority(os.PRIO_PROCESS, 0, 19)
