"""What only the catalog says of an item, as codes: some bytes a row, made when the row changes, never in a request."""

import numpy as np

from features.fold.arrays import N_ENTITIES
from features.fold.stretch import Stretch
from features.reader import Reader
from features.records import Context
from features.state import FeatureState
from features.types import ByteArray, RowArray
from ranking.forest.live_codes import Moving, Still, code_live
from ranking.forest.trees import Coded, Forest

_AT_ONCE = 16_384


class ItemCodes:
    """Codes by item row, beside the features that must be read anew; the owner's mutex guards them.

    Parameters
    ----------
    forest : Forest
        Compiled.
    reader : Reader
        Of the features that the forest was trained on.
    """

    def __init__(self, forest: Forest, reader: Reader) -> None:
        self._forest, self._reader = forest, reader
        still = reader.feature_set.still
        self._still = np.array(still, np.int64)
        self._columns = forest.columns_of(still)
        self._stretch = Stretch[ByteArray]((len(self._columns),), np.uint8)
        self._table = self._stretch.array
        moving = np.setdiff1d(np.arange(len(reader.feature_set.columns)), self._still)
        moving = moving[[len(forest.columns_of([one])) > 0 for one in moving.tolist()]]
        order = np.argsort(reader.basis[moving], kind="stable")
        begins = np.searchsorted(reader.basis[moving][order], np.arange(N_ENTITIES + 3))
        self._moving = Moving(moving[order], begins)

    def catch_up(self, state: FeatureState, rows: RowArray) -> None:
        """Code the catalog rows ``rows`` of a state that the reader has caught up with."""
        if len(self._table) < len(state.items):
            known, self._table = len(self._table), self._stretch.reserve(len(state.items))
            # What the catalog has not described yet is as blank as row 0.
            self._table[known:] = self._read(state, np.zeros(1, np.int32))
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            self._table[some] = self._read(state, some)

    def _read(self, state: FeatureState, rows: RowArray) -> ByteArray:
        features = self._reader.rows(state, 0, rows, 0, Context(), self._still)
        return self._forest.coded(features).columns(self._columns)

    def coded(self, state: FeatureState, user: int, rows: RowArray, now_ms: int, context: Context) -> Coded:
        """Codes of items (n,) for one person, as of the state's offset and a time: what is kept, and what moves."""
        asked, still = self._reader.asked(state, user, now_ms, context), Still(self._table, self._columns)
        return Coded(code_live(self._forest.native, *asked, rows, self._moving, still), len(rows))
