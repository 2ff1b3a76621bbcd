"""Tastes by row of a state: what training learned by name, laid where kernels read it."""

from collections.abc import Sequence

import numpy as np

from features.columns import Taste
from features.factors import NAMED, TASTE_DIMS, Tastes
from features.fold.stretch import Stretch
from features.fold.taste_of import TasteView
from features.layout import half_life_ms
from features.records import Item
from features.schema import TASTE_ACTIONS, TASTED, FeatureSet
from features.state import FeatureState
from features.types import FloatArray, RowArray


class TasteRows:
    """The vectors of tastes by row of one state, as far as it was taken in.

    Parameters
    ----------
    feature_set : FeatureSet
        Without a ``Taste`` among its columns nothing is kept.
    tastes : Tastes
    """

    def __init__(self, feature_set: FeatureSet, tastes: Tastes) -> None:
        asked = [column for column in feature_set.columns if isinstance(column, Taste)]
        self._tastes, self._life = tastes, asked[0].half_life if asked else ""
        places = [
            [feature_set.layout.slot(one, action, self._life) for action in TASTE_ACTIONS] for one in TASTED if asked
        ]
        self._stretches = {name: Stretch[FloatArray]((TASTE_DIMS,), np.float32) for name in ("item", *NAMED)}
        self._done = dict.fromkeys(NAMED, 0)
        for stretch in self._stretches.values():
            stretch.reserve(1)
        self.view = self._seen(tastes.precision, np.array(places, np.int32).reshape(-1, 2), self._life)

    def _seen(self, precision: FloatArray, slots: RowArray, life: str) -> TasteView:
        rows = {name: stretch.array for name, stretch in self._stretches.items()}
        return TasteView(
            item=rows["item"],
            author=rows["author"],
            category=rows["category"],
            traits=(rows["age_band"], rows["gender"], rows["city_tier"]),
            precision=precision,
            slots=slots,
            half_life_ms=float(half_life_ms(life)) if life else 1.0,
            used=bool(life),
        )

    def catch_up(self, state: FeatureState, known: Sequence[tuple[int, Item]]) -> TasteView:
        """Take in rows of items and all names that are new; the view changes only where an array moved."""
        if not self._life:
            return self.view
        item = self._stretches["item"].reserve(len(state.items))
        if known:
            item[[row for row, _ in known]] = self._tastes.of_items.vectors_of([found for _, found in known])
        for columns in (state.columns, state.user_columns):
            for name in NAMED:
                if name in columns:
                    self._learn(name, columns[name].names)
        now = self._seen(self.view.precision, self.view.slots, self._life)
        moved = zip((*self.view[:3], *self.view.traits), (*now[:3], *now.traits), strict=True)
        if any(before is not after for before, after in moved):
            self.view = now
        return self.view

    def _learn(self, column: str, names: Sequence[str]) -> None:
        done, matrix = self._done[column], self._stretches[column].reserve(len(names))
        if done < len(names):
            matrix[done : len(names)] = self._tastes.of(column, names[done:])
            self._done[column] = len(names)
