"""What a policy says of candidates by the state: its terms, who is boosted, what sells, what bounds count.

Commerce is defined here, once: a product, or a room in which a product is pinned.
"""

import numpy as np
from numba import njit

from features.fold.arrays import AUTHOR, KIND, Table
from features.fold.faded import fade
from features.layout import half_life_ms
from features.outcomes import KIND_CODES, PRODUCT, ROOM
from features.schema import QUALITY_HALF_LIFE
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, DoubleArray, IntArray, RowArray
from ranking.candidates.quality import Quality
from ranking.mixing.boosts import meant
from ranking.mixing.commerce_load import Load
from ranking.policy import Bound, Policy
from ranking.types import Decided, Query

_COLUMNS = {"author": 0, "merchant": 1, "brand": 2, "category": 3}
_FEE, _SHOP, _QUALITY, _COMMERCE, BOOST = "fee", "shop", "quality", "commerce", "boost"


class Decisions:
    """The tables of a policy over a state; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    policy : Policy
    quality : Quality
        Of the policy's floors.
    load : Load
        What was served, for commerce over a day.

    Attributes
    ----------
    names : tuple of str
        The terms that the policy adds, in order; those it does not use cost nothing.
    """

    def __init__(self, state: FeatureState, policy: Policy, quality: Quality, load: Load) -> None:
        self._state = state
        self._policy = policy
        self._quality = quality
        self._load = load
        terms = policy.terms
        self._by_shop = np.array([0.0, terms.own_shop, terms.third_party])
        self._by_type = np.array([0.0, terms.merchant, terms.kol, terms.celebrity])
        used = {
            _FEE: bool(policy.fees.weight and policy.fees.table),
            _SHOP: bool(self._by_shop.any() or self._by_type.any()),
            _QUALITY: quality.demotes,
            _COMMERCE: policy.commerce.most > 0,
            BOOST: bool(policy.boosts),
        }
        self.names = tuple(name for name, is_used in used.items() if is_used)

    def of(self, query: Query, rows: RowArray) -> Decided:
        """What is said of items (n,) for a person on a surface at a moment."""
        items = self._state.arrays.items
        # What sells, and a fee or a term goes by: the product itself, or what is pinned in the room.
        sold = _sold(items.categories, items.pinned, rows)
        sells = sold != 0
        surface, now_ms = query.context.surface, query.now_ms
        terms = np.zeros((len(rows), len(self.names)), np.float64)
        shops = items.categories[sold, 5] if {_FEE, _SHOP} & {*self.names} else NO_ROWS
        for column, name in enumerate(self.names):
            if name == _FEE:
                terms[:, column] = self._policy.fees.weight * np.array(self._policy.fees.rates(now_ms))[shops]
            elif name == _SHOP:
                terms[:, column] = self._by_shop[shops] + self._by_type[items.categories[rows, 6]]
            elif name == _QUALITY:
                terms[:, column] = self._quality.losses(rows, now_ms)
            elif name == _COMMERCE and surface in self._policy.commerce.surfaces:
                terms[:, column] = self._policy.commerce.term(*self._load.day(now_ms, query.unlogged)) * sells
        bounds = self._policy.surface(surface).bounds
        boosts, who = meant(self._state, self._policy.boosts, surface, now_ms, rows)
        return Decided(terms, boosts, who, sells, self._keys(bounds, rows, sells, now_ms), self._held(bounds, query))

    def _keys(self, bounds: tuple[Bound, ...], rows: RowArray, sells: BoolArray, now_ms: int) -> RowArray:
        categories = self._state.arrays.items.categories
        keys = np.zeros((len(bounds), len(rows)), np.int32)
        for key, bound in zip(keys, bounds, strict=True):
            if bound.of in _COLUMNS:
                key[:] = categories[rows, _COLUMNS[bound.of]]
            elif bound.of == "commerce":
                key[:] = sells
            elif bound.of == "head_host":
                key[:] = self.exposure(categories[rows, 0], now_ms) >= self._policy.head_hosts.share
            else:
                key[:] = categories[rows, 4] == KIND_CODES[bound.of]
        return keys

    def exposure(self, authors: RowArray, now_ms: int) -> DoubleArray:
        """The share (n,) that authors have of all impressions; 0 for none."""
        layout, tables = self._state.layout, self._state.arrays.tables
        slots = [layout.slot(of, "impression", QUALITY_HALF_LIFE) for of in ("author", "kind")]
        life = float(half_life_ms(QUALITY_HALF_LIFE))
        return _exposure(tables[AUTHOR], slots[0], tables[KIND], slots[1], authors, now_ms, life)

    def _held(self, bounds: tuple[Bound, ...], query: Query) -> IntArray:
        # With personalisation off as well: it is what the person was given, not what they are like.
        over_a_day = [bound.window == "day" for bound in bounds]
        sold = self._load.sold_to(query.user, query.now_ms, query.unlogged) if any(over_a_day) else 0
        return np.array([sold if counts else 0 for counts in over_a_day], np.int64)


@njit(nogil=True, cache=True)
def _sold(categories: RowArray, pinned: RowArray, rows: RowArray) -> RowArray:
    out = np.zeros(rows.shape[0], np.int32)
    for i in range(rows.shape[0]):
        row = rows[i]
        kind = categories[row, 4]
        if kind == PRODUCT:
            out[i] = row
        elif kind == ROOM:
            out[i] = pinned[row]
    return out


@njit(nogil=True, cache=True)
def _exposure(
    hosts: Table, slot: int, kinds: Table, kind_slot: int, authors: RowArray, now_ms: int, half_life: float
) -> DoubleArray:
    whole = 0.0
    for kind in range(1, kinds.values.shape[0]):
        whole += kinds.values[kind, kind_slot] * fade(kinds.stamp[kind], now_ms, half_life)
    share = np.zeros(authors.shape[0], np.float64)
    for i in range(authors.shape[0]):
        author = authors[i]
        if author != 0 and whole > 0:
            share[i] = hosts.values[author, slot] * fade(hosts.stamp[author], now_ms, half_life) / whole
    return share
