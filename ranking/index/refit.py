"""New lists made beside the old ones: in a thread of their own, with what changed meanwhile replayed into them."""

import threading
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from features.types import FloatArray, RowArray
from ranking.index.exact import ExactIndex
from ranking.index.kept import Kept, ListsWarning
from ranking.index.lists import ANY, Lists, fill, fit
from ranking.index.trial import RECALL, try_lists

FEW = 256
"""So few changed rows may be left for the end, when the index waits."""


class Refit:
    """One training of an exact index's lists. The index tells it what changes, and takes the lists when it is done.

    It reads the exact index while that is changed. This is safe since a vector stands in its row's place, since a
    change is told after it was made, and since every row told of is filed anew.

    Parameters
    ----------
    exact : ExactIndex
    probes : float, optional
        The share of lists to visit; by default what ``try_lists`` finds.
    kept : Kept, optional
        Where lists may be begun from, and are kept.
    again : bool
        Whether what is kept has served its time and centroids are fitted anew.
    asked : array (n, dims) float32
        What searches ask for, to try lists with; none where that is not known.
    """

    def __init__(
        self, exact: ExactIndex, probes: float | None, kept: Kept | None, *, again: bool, asked: FloatArray
    ) -> None:
        self._exact = exact
        self._probes = probes
        self._kept = kept
        self._again = again
        self._asked = asked
        self._rows = exact.rows
        self._changed: list[RowArray] = []
        self._replayed = 0
        self._lists: Lists | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, name="huozhao-lists", daemon=True)

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    def run(self) -> None:
        """Make the lists, here and now; left undone when told to stop."""
        try:
            # More threads of numpy's would take their cores from searches.
            with threadpool_limits(1):
                self._run()
        except _StoppedError:
            return

    def tell(self, rows: RowArray) -> None:
        """Note rows that were changed, after they were."""
        self._changed.append(rows.copy())

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it is over."""
        if self._thread.ident is not None:
            self._thread.join()

    def stop(self) -> None:
        """Give up, and wait until the thread has ended: a fraction of a second."""
        self._stop.set()
        self.wait()

    def take(self) -> Lists | None:
        """The lists, with all that was told in them; None where they were not made."""
        if self._lists is not None:
            self._replay(self._lists)
        return self._lists

    def _run(self) -> None:
        fitted = self._kept.load(self._exact.dims) if self._kept and not self._again else None
        if fitted is not None and len(self._rows) < 2 * fitted.size:
            lists = Lists(fitted.centroids, fitted.ranges)
            lists.visits, lists.farther, lists.size = fitted.visits, fitted.farther, fitted.size
            lists.most = fitted.most
            fill(lists, self._exact, self._rows, fitted.placed, self._pause)
        else:
            fitted = None
            lists = fit(self._exact, self._rows, self._pause)
            fill(lists, self._exact, self._rows, None, self._pause)
            if self._probes is None:
                try_lists(lists, self._exact, self._rows, self._asked, self._pause)
        if self._probes is not None:
            lists.visits = max(1, round(self._probes * len(lists)))
        while sum(map(len, self._changed[self._replayed :])) > FEW:
            self._pause()
            self._replay(lists)
        if self._kept and fitted is None:
            try:
                self._kept.save(lists.fitted(self._exact))
            except OSError as error:
                warnings.warn(f"Lists could not be kept: {error}", ListsWarning, stacklevel=2)
        self._lists = lists
        if lists.most < ANY:
            what = f"Searches for more than {lists.most}" if lists.most else "All searches"
            told = f"Lists of {lists.size} vectors miss more than {1 - RECALL:.0%} of the best: {what} score all."
            warnings.warn(told, ListsWarning, stacklevel=2)

    def _replay(self, lists: Lists) -> None:
        told = len(self._changed)
        if told > self._replayed:
            lists.renew(self._exact, np.concatenate(self._changed[self._replayed : told]))
            self._replayed = told

    def _pause(self) -> None:
        if self._stop.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """The training was told to stop."""
