"""What a policy says of candidates by the state: its terms, who is boosted, what sells, what bounds count.

Commerce is defined here, once: a product, or a room in which a product is pinned.
"""

import numpy as np
from numba import njit

from features.fold.arrays import AUTHOR, KIND, Arrays, Table
from features.fold.faded import fade
from features.layout import half_life_ms
from features.outcomes import KIND_CODES, PRODUCT, ROOM
from features.schema import QUALITY_HALF_LIFE
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, ByteArray, DoubleArray, IntArray, RowArray
from ranking.candidates.quality import Quality
from ranking.mixing.boosts import meant
from ranking.mixing.commerce_load import Load
from ranking.policy import Bound, Policy
from ranking.types import Decided, Query

_COLUMNS = {"author": 0, "merchant": 1, "brand": 2, "category": 3}
_COMMERCE_KEY, _HOST_KEY, _KIND_KEY = 4, 5, 6
_COUNTED = _COLUMNS | {"commerce": _COMMERCE_KEY, "head_host": _HOST_KEY}
_COUNTED |= {kind: _KIND_KEY + code for kind, code in KIND_CODES.items()}
"""What a bound counts, as kernels know it: a column of the catalog, or beyond."""
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

    def of(self, query: Query, rows: RowArray) -> tuple[ByteArray, Decided]:
        """The codes (n,) of items' kinds, and what is said of them for a person on a surface at a moment."""
        items = self._state.arrays.items
        kinds, sold, sells = _told(self._state.native, rows)
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
        keys, held = self._keys(bounds, rows, sells, now_ms), self._held(bounds, query)
        return kinds, Decided(terms, boosts, who, sells, keys, held)

    def _keys(self, bounds: tuple[Bound, ...], rows: RowArray, sells: BoolArray, now_ms: int) -> RowArray:
        counted = np.array([_COUNTED[bound.of] for bound in bounds], np.int64)
        keys = _counted(self._state.native, rows, sells, counted)
        for key, bound in zip(keys, bounds, strict=True):
            if bound.of == "head_host":
                hosts = self._state.arrays.items.categories[rows, 0]
                key[:] = self.exposure(hosts, now_ms) >= self._policy.head_hosts.share
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
def _told(arrays: Arrays, rows: RowArray) -> tuple[ByteArray, RowArray, BoolArray]:
    """Kinds (n,) of items; what sells, and a fee or a term goes by: the product itself, or what is pinned in the room.

    So many products (n,), 0 where nothing sells, and whether there is one.
    """
    categories, pinned = arrays.items.categories, arrays.items.pinned
    kinds, sold = np.empty(rows.shape[0], np.uint8), np.zeros(rows.shape[0], np.int32)
    for i in range(rows.shape[0]):
        row = rows[i]
        kinds[i] = categories[row, 4]
        if kinds[i] == PRODUCT:
            sold[i] = row
        elif kinds[i] == ROOM:
            sold[i] = pinned[row]
    return kinds, sold, sold != 0


@njit(nogil=True, cache=True)
def _counted(arrays: Arrays, rows: RowArray, sells: BoolArray, counted: IntArray) -> RowArray:
    """The keys (bounds, n) of items by what is counted; 0 of head hosts, who are looked for apart."""
    categories = arrays.items.categories
    keys = np.zeros((counted.shape[0], rows.shape[0]), np.int32)
    for b in range(counted.shape[0]):
        of = counted[b]
        for i in range(rows.shape[0]):
            if of < _COMMERCE_KEY:
                keys[b, i] = categories[rows[i], of]
            elif of == _COMMERCE_KEY:
                keys[b, i] = sells[i]
            elif of >= _KIND_KEY:
                keys[b, i] = categories[rows[i], 4] == of - _KIND_KEY
    return keys


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
