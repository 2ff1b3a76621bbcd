"""Names to rows: dense numbers in the order of first appearance, never given twice."""

from collections.abc import Iterable, Sequence

import numpy as np

from features.types import RowArray


class Vocabulary:
    """A growing map of names to rows; row 0 is the empty name.

    Parameters
    ----------
    names : iterable of str
        Names to begin with, in row order, without the empty one.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names: list[str] = ["", *names]
        self._rows = {name: row for row, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int:
        """The row of a name, 0 where it has none."""
        return self._rows.get(name, 0)

    def find_all(self, names: Sequence[str]) -> RowArray:
        """The rows of names (n,) int32, 0 where one has none."""
        rows = self._rows.get
        return np.array([rows(name, 0) for name in names], np.int32)

    def add(self, name: str) -> int:
        """The row of a name, a new one where it has none."""
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = len(self.names)
            self.names.append(name)
        return row
