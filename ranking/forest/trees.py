"""Compiled LightGBM ensembles: all heads in one pass, bit-equal to ``Booster.predict(raw_score=True)``.

``ranking.forest.compiler`` makes arrays of the models' texts, ``ranking.forest.kernel`` scores by them. What cannot be
compiled is scored by LightGBM itself, with a warning that names the reason.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from features.errors import BundleError, HuozhaoWarning, RequestError
from features.types import ByteArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.forest.codes import code_rows
from ranking.forest.compiler import Compiled, compile_trees
from ranking.forest.foreign import open_boosters
from ranking.forest.kernel import raw_scores
from ranking.forest.model import Model, stride_of
from ranking.forest.text import Uncompilable, open_model, parse_tree

if TYPE_CHECKING:
    from lightgbm import Booster


NO_COLUMNS = np.zeros(0, np.int64)
NO_CODES = np.zeros((0, 0), np.uint8)


class ForestWarning(HuozhaoWarning):
    """A forest is scored by LightGBM itself, exactly but many times slower."""


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Rows as the codes of one forest, to be scored by it more than once.

    Attributes
    ----------
    table : (columns, width) uint8
        Column after column; what is beyond the n rows says nothing.
    n : int
    """

    table: ByteArray
    n: int

    def at(self, positions: IntArray) -> "Coded":
        """Some of the rows, in that order."""
        table = coded_table(len(self.table), len(positions))
        table[:, : len(positions)] = self.table[:, positions]
        return Coded(table, len(positions))

    def columns(self, which: IntArray) -> ByteArray:
        """Some columns (n, k) uint8, row after row: to be kept, and given to ``Forest.coded`` again."""
        return np.ascontiguousarray(self.table[which, : self.n].T)


def coded_table(columns: int, n: int) -> ByteArray:
    """Room for the codes of n rows, from the start of a cache line."""
    width = stride_of(n)
    whole = np.empty(columns * width + 64, np.uint8)
    skip = -whole.ctypes.data % 64
    return whole[skip : skip + columns * width].reshape(columns, width)


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """LightGBM models of several heads over one row of features; immutable and safe to share between threads.

    Attributes
    ----------
    heads : tuple of str
        Head names, in the order of the columns of ``raw``.
    n_features : int
        Width of a feature row.
    n_trees : tuple of int
        Trees of each head.
    reason : str
        Why LightGBM scores instead of the compiled kernel; empty when compiled.
    """

    heads: tuple[str, ...]
    n_features: int
    n_trees: tuple[int, ...]
    reason: str = ""
    _compiled: Compiled | None = field(default=None, repr=False)
    _boosters: tuple["Booster", ...] = field(default=(), repr=False)

    @property
    def compiled(self) -> bool:
        """Whether the mask kernel scores; if not, ``reason`` says why."""
        return self._compiled is not None

    @classmethod
    def from_model_texts(cls, models: Mapping[str, str]) -> "Forest":
        """Compile the texts of ``Booster.model_to_string()``, one a head.

        Parameters
        ----------
        models : mapping of str to str
            Head name to model text; each of one output, all of the same number of features.

        Raises
        ------
        BundleError
            If a text is not a whole LightGBM model or was changed, has several outputs, or the models' features differ
            in number.

        Warns
        -----
        ForestWarning
            If a model has linear trees, more than 256 leaves, a NaN threshold, or if the sets of a feature know more
            than 65,535 categories: LightGBM scores then.
        """
        if not models:
            raise BundleError("A forest has no head.", "Give one model or more.")
        opened = {name: open_model(name, text) for name, text in models.items()}
        widths = {name: len(model.features) for name, model in opened.items()}
        if len(set(widths.values())) != 1:
            raise BundleError(f"The heads of a forest must share one row of features, not {widths}.", "Train them so.")
        shape = tuple(models), next(iter(widths.values())), tuple(len(model.trees) for model in opened.values())
        try:
            trees = [
                [
                    parse_tree(f"tree {age} of head {name!r}", block, widths[name])
                    for age, block in enumerate(model.trees)
                ]
                for name, model in opened.items()
            ]
            forest = cls(*shape, _compiled=compile_trees(trees, next(iter(opened.values())).features))
        except Uncompilable as why:
            boosters = open_boosters(models)
            warnings.warn(f"LightGBM scores in place of the compiled forest: {why}.", ForestWarning, stacklevel=2)
            return cls(*shape, str(why), _boosters=boosters)
        forest.raw(np.zeros((1, forest.n_features), np.float32))  # loads the kernels now, not in the first request
        return forest

    def raw(self, features: FloatArray, trees: int | None = None) -> DoubleArray:
        """Raw scores, bit-equal to LightGBM's for the same values; holds neither lock nor GIL.

        Parameters
        ----------
        features : (n, n_features) float32
            NaN, infinities and unseen categories go where LightGBM sends them.
        trees : int, optional
            Use only the first so many trees of each head.

        Returns
        -------
        (n, heads) float64
        """
        self._check(features)
        if self._compiled is None:
            return self._raw_by_lightgbm(features, self._limit(trees))
        return self.score(self.coded(features), trees)

    def score(self, rows: Coded, trees: int | None = None) -> DoubleArray:
        """Raw scores (n, heads) float64 of rows that ``coded`` made: what ``raw`` says of the same values."""
        limit, model = min(self._limit(trees), max(self.n_trees)), self._code()
        if rows.n == 0:
            return np.zeros((0, len(self.heads)))
        scores: DoubleArray = raw_scores(model.native, rows.table.ravel(), rows.n, limit)
        return scores

    def coded(
        self,
        features: FloatArray,
        columns: IntArray = NO_COLUMNS,
        kept: ByteArray = NO_CODES,
        rows: RowArray | None = None,
    ) -> Coded:
        """The codes of rows, made once for all scores that are asked of them; needs a compiled forest.

        Parameters
        ----------
        features : (n, n_features) float32, C or Fortran order
        columns : (k,) int64
            Columns of codes, see ``columns_of``, that are known without looking at the features.
        kept : (m, k) uint8, C order
            Their codes, as ``Coded.columns`` gave them.
        rows : (n,) int32
            Which of ``kept`` each row has; by default one after the other.
        """
        self._check(features)
        model, n = self._code(), len(features)
        rows = np.arange(n, dtype=np.int32) if rows is None else rows
        if not features.flags.f_contiguous:
            features = np.ascontiguousarray(features)
        step, across = features.strides
        flat = features.ravel(order="K").view()
        flat.flags.writeable = False  # so that the kernel has one signature, whoever owns the array
        table = coded_table(model.columns, n)
        if n:
            code_rows(model.native, flat, (step // 4, across // 4), n, kept, rows, columns, table.ravel())
        return Coded(table, n)

    @property
    def native(self) -> Model:
        """What kernels code and score by; needs a compiled forest."""
        return self._code().native

    def columns_of(self, features: Sequence[int]) -> IntArray:
        """The columns of codes (k,) int64 that tell of some features; none where the forest is not compiled."""
        return NO_COLUMNS if self._compiled is None else self._compiled.columns_of(features)

    def _code(self) -> Compiled:
        if self._compiled is None:
            raise RequestError(f"The forest has no codes: {self.reason}.", "Score its features with raw().")
        return self._compiled

    def _limit(self, trees: object) -> int:
        if trees is None:
            return max(self.n_trees)
        if not isinstance(trees, int | np.integer) or isinstance(trees, bool) or trees < 1:
            raise RequestError(
                f"Cannot score by the first {trees!r} trees.", "Ask for a whole number from 1 on, or None for all."
            )
        return int(trees)

    def _check(self, features: FloatArray) -> None:
        if features.dtype != np.float32 or features.ndim != 2 or features.shape[1] != self.n_features:
            raise RequestError(
                f"A forest scores float32 rows of {self.n_features}, not {features.dtype} of shape {features.shape}.",
                "Assemble them with the FeatureSet that the models were trained on.",
            )

    def _raw_by_lightgbm(self, features: FloatArray, trees: int) -> DoubleArray:
        out = np.zeros((len(features), len(self.heads)))
        for head, booster in enumerate(self._boosters if len(features) else ()):
            scores = booster.predict(features, raw_score=True, num_iteration=trees, num_threads=1)
            out[:, head] = np.asarray(scores, np.float64)
        return out
