"""From LightGBM's model text to the flat arrays that ``ranking.forest.kernel`` scores by.

Thresholds become float32 cuts that part float32 values as the float64 thresholds do, and values too small for LightGBM
to tell from zero as zero; the distinct tests of all heads are numbered by the first tree that needs them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.types import DoubleArray, FloatArray, HashArray, IntArray
from ranking.forest.lanes import BLOCK, SLOT_BYTES
from ranking.forest.leaves import IN_REGISTERS
from ranking.forest.model import BAND, LEAF_SLOT, MAX_CUTS, Members, Model, Nodes, Ranks
from ranking.forest.native import native_model
from ranking.forest.text import Tree, Uncompilable

_ZERO = np.float32(1e-35)  # LightGBM takes what is not larger for zero
_MAX_PLACES = 2**16 - 1  # a place is two bytes, and 0 says unknown

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """The arrays of all heads' trees, and the same as one object for kernels."""

    arrays: Model
    native: Model

    @property
    def columns(self) -> int:
        """Columns of codes."""
        return int(self.arrays.members.place[-1])

    def columns_of(self, features: Sequence[int]) -> IntArray:
        """Which of them tell of some features."""
        ranks, members = self.arrays.ranks, self.arrays.members
        numbers = np.repeat(ranks.feature, np.diff(ranks.column_start))
        categories = np.repeat(members.feature, np.diff(members.place))
        return np.flatnonzero(np.isin(np.concatenate([numbers, categories]), features))


def compile_trees(heads: list[list[Tree]], features: Sequence[str]) -> Compiled:
    """Number the distinct tests of all heads' trees and lay nodes and leaves out tree after tree.

    Raises ``Uncompilable``, naming the feature, where the sets of one know more categories than codes have places.
    """
    trees = [tree for head in heads for tree in head]
    sizes = np.array([len(tree.feature) for tree in trees], np.int64)
    ages = np.array([age for head in heads for age in range(len(head))], np.int64)
    feature, decision = _joined((t.feature for t in trees), np.int64), _joined((t.decision for t in trees), np.int64)
    left, right = _joined((t.left for t in trees), np.int64), _joined((t.right for t in trees), np.int64)
    cuts = _float_cuts(_joined((t.threshold for t in trees), np.float64))
    numerical, categorical = np.flatnonzero(decision & 1 == 0), np.flatnonzero(decision & 1)
    tests = np.zeros((len(feature), 2), np.int64)  # column, most or set
    ranks, tests[numerical] = _rank_columns(feature[numerical], cuts[numerical], decision[numerical] >> 1)
    sets = [part for tree in trees for part in _category_sets(tree)]
    tests[categorical] = _set_tests(feature[categorical], sets, len(ranks.missing_code))
    node_test, table, test_age = _in_order_of_use(tests, np.repeat(ages, sizes), decision & 1)
    slots_of = _slots(table[:, 0] >= len(ranks.missing_code), test_age // BAND)
    of_sets = np.unique(feature[categorical])
    known = _known_categories(feature[categorical], sets, features)
    members = _in_chunks(of_sets, known, sets, table, test_age, slots_of, len(ranks.missing_code))
    sibling = np.stack([left, right])
    order, number = _breadth_first(sibling, sizes)
    first = np.repeat(_starts(sizes)[:-1], sizes)
    slots = np.where(sibling >= 0, number[first + sibling.clip(0)], LEAF_SLOT + ~sibling)[:, order]
    node_test = node_test[order]
    records = (slots_of[node_test] << 32 | slots[0] << 16 | slots[1]).astype(np.uint64) * np.uint64(SLOT_BYTES)
    nodes = Nodes(
        *(table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), slots_of.astype(np.int32)),
        *(_starts([len(head) for head in heads]), _starts(sizes + 1)),
        *(records, node_test.astype(np.int32)),
        *(np.pad(_joined((t.leaves for t in trees), np.float64), (0, IN_REGISTERS)),),
    )
    rank_tests = np.flatnonzero(table[:, 0] < len(ranks.missing_code))
    below = _nodes_below(table[node_test], len(ranks.missing_code), len(members.feature))
    # One more than tests have, for what nobody reads.
    slots_in_all = int(slots_of.max(initial=-1)) + 2
    arrays = Model(ranks, members, nodes, test_age, rank_tests, below, slots_in_all)
    return Compiled(arrays, native_model(arrays))


def _breadth_first(children: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """The nodes (n,) of trees with so many each, level by level, and the number of each node within its tree then.

    A node's rows are written when its parent is split. Of nodes in the order in which they were grown many follow their
    parents at once, and a processor waits for what it has just written; those of one level wait for nothing of it.
    """
    starts = _starts(sizes)
    first, level = np.repeat(starts[:-1], sizes), np.zeros(children.shape[1], np.int64)
    here = starts[:-1][sizes > 0]
    depth = 0
    while len(here):
        level[here] = depth
        below = children[:, here]
        here = (first[here] + below)[below >= 0]
        depth += 1
    order = np.lexsort((level, first))
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - first[order]
    return order, number


def _joined(parts: Iterable[NDArray[_Number]], kind: type[_Number]) -> NDArray[_Number]:
    return np.concatenate([np.zeros(0, kind), *parts])


def _starts(lengths: ArrayLike) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _float_cuts(thresholds: DoubleArray) -> FloatArray:
    """The float32 cuts that part all float32 values, those LightGBM takes for zero included, as the thresholds do."""
    with np.errstate(over="ignore"):
        cuts = thresholds.astype(np.float32)
    down = np.float32(-np.inf)
    cuts = np.where(cuts > thresholds, np.nextafter(cuts, down), cuts)
    cuts = np.where((thresholds >= 0) & (thresholds < _ZERO), _ZERO, cuts)
    return np.where((thresholds < 0) & (thresholds >= -_ZERO), np.nextafter(-_ZERO, down), cuts)


def _rank_columns(feature: IntArray, cut: FloatArray, missing: IntArray) -> tuple[Ranks, IntArray]:
    """Columns of ranks for numerical nodes, and each node's test: its column, at most the rank of its cut.

    A feature has a column for each way its nodes treat what is missing, and further grids beyond 255 cuts.
    """
    tests = np.zeros((len(feature), 2), np.int64)
    grids: list[tuple[int, FloatArray]] = []
    starts, codes, below = [0], list[int](), list[float]()
    for f in np.unique(feature):
        at = np.flatnonzero(feature == f)
        cuts, place = np.unique(cut[at], return_inverse=True)
        for low in range(0, len(cuts), MAX_CUTS):
            here = (place >= low) & (place < low + MAX_CUTS)
            ways, way = np.unique(missing[at[here]], return_inverse=True)
            tests[at[here], 0], tests[at[here], 1] = len(codes) + way, place[here] - low
            grids.append((int(f), cuts[low : low + MAX_CUTS]))
            zero = int((grids[-1][1] < 0).sum())
            codes += [zero if way < 2 else 255 * (1 - int(way & 1)) for way in ways]
            below += [float(_ZERO) if way >> 1 == 1 else -1.0 for way in ways]
            starts.append(len(codes))
    table = np.full((len(grids), MAX_CUTS + 1), np.inf, np.float32)
    for row, (_, cuts) in zip(table, grids, strict=True):
        row[: len(cuts)] = cuts
    ranks = Ranks(
        *(np.array([f for f, _ in grids], np.int64), table.ravel(), table[:, 15::16].ravel()),
        *(np.array(starts, np.int64), np.array(codes, np.uint8), np.array(below, np.float32)),
    )
    return ranks, tests


def _category_sets(tree: Tree) -> list[IntArray]:
    """The categories that each categorical node sends left."""
    sets = []
    for which in tree.threshold[tree.decision & 1 == 1].astype(np.int64):
        words = tree.cat_words[tree.cat_start[which] : tree.cat_start[which + 1]].astype("<u4")
        sets.append(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")))
    return sets


def _known_categories(feature: IntArray, sets: list[IntArray], names: Sequence[str]) -> list[IntArray]:
    """The sorted categories that the sets of each feature know."""
    known = []
    for f in np.unique(feature):
        known.append(np.unique(np.concatenate([sets[node] for node in np.flatnonzero(feature == f)])))
        if len(known[-1]) > _MAX_PLACES:
            what = f"feature {names[f]!r} knows {len(known[-1])} categories in its sets"
            raise Uncompilable(f"{what}, more than {_MAX_PLACES}")
    return known


def _set_tests(feature: IntArray, sets: list[IntArray], first: int) -> IntArray:
    """Each categorical node's test: its feature's number, from ``first`` on, and the first node of the same set."""
    tests = np.zeros((len(feature), 2), np.int64)
    tests[:, 0] = first + np.unique(feature, return_inverse=True)[1]
    seen: dict[tuple[int, bytes], int] = {}
    for node, (column, one) in enumerate(zip(tests[:, 0].tolist(), sets, strict=True)):
        tests[node, 1] = seen.setdefault((column, one.tobytes()), node)
    return tests


def _in_chunks(
    features: IntArray,
    known: list[IntArray],
    sets: list[IntArray],
    table: IntArray,
    test_age: IntArray,
    slots_of: IntArray,
    first: int,
) -> Members:
    """The sets of the tests in a table, whose numbers become their chunk and bit, in columns from ``first``."""
    words, chunks = list[HashArray](), [0]
    chunk_slots, chunk_age = list[IntArray](), list[IntArray]()
    for i in range(len(features)):
        at = np.flatnonzero(table[:, 0] == first + i)
        chosen = [sets[node] for node in table[at, 1]]
        # Those of a band begin with a chunk of their own.
        sizes = np.bincount(test_age[at] // BAND)
        ends = _starts(-(-sizes // BLOCK) * BLOCK)
        place, count = np.arange(len(at)) + np.repeat(ends[:-1] - _starts(sizes)[:-1], sizes), int(ends[-1]) // BLOCK
        member = np.zeros((count * BLOCK, len(known[i]) + 1), np.bool_)
        for row, one in zip(place, chosen, strict=True):
            member[row, np.searchsorted(known[i], one) + 1] = True
        by_place = np.ascontiguousarray(member.reshape(count, BLOCK, -1).transpose(0, 2, 1))
        words.append(np.packbits(by_place, axis=-1, bitorder="little").view("<u8").ravel().astype(np.uint64))
        chunk_slots.append(np.full(count * BLOCK, slots_of.max() + 1))
        chunk_slots[-1][place] = slots_of[at]
        chunk_age.append(test_age[at[place % BLOCK == 0]])
        table[at, 1] = chunks[-1] * BLOCK + place
        chunks.append(chunks[-1] + count)
    return Members(
        *(features, _starts([len(part) for part in known]), _joined(known, np.int64)),
        first + _starts([1 if len(part) < 256 else 2 for part in known]),
        *(np.array(chunks, np.int64), _starts([len(part) for part in words]), _joined(chunk_age, np.int64)),
        *(_joined(words, np.uint64), _joined(chunk_slots, np.int64)),
    )


def _slots(is_set: NDArray[np.bool_], bands: IntArray) -> IntArray:
    """The slot of each test, those of ranks first: a set's is needed no longer than its band."""
    slots, ranks = np.empty(len(bands), np.int64), int((~is_set).sum())
    slots[~is_set] = np.arange(ranks)
    for band in np.unique(bands[is_set]):
        here = np.flatnonzero(is_set & (bands == band))
        slots[here] = ranks + np.arange(len(here))
    return slots


def _nodes_below(tests: IntArray, ranks: int, features: int) -> IntArray:
    """``Model.nodes_below`` by the test of each node."""
    counts = np.zeros((ranks + features, MAX_CUTS + 2), np.int64)
    np.add.at(counts, (tests[:, 0], np.where(tests[:, 0] < ranks, tests[:, 1] + 1, MAX_CUTS + 1)), 1)
    return counts.cumsum(axis=1)


def _in_order_of_use(tests: IntArray, ages: IntArray, is_set: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Each node's distinct test, the distinct tests, and their ages: those that the first T trees use come first.

    A set is tested anew in each band of trees.
    """
    keys = np.stack([*tests.T, is_set * (ages // BAND)], axis=1)
    keys = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(ages, kind="stable")
    _, first, place = np.unique(keys[order], return_index=True, return_inverse=True)
    by_use = np.argsort(first)
    node_test = np.empty(len(tests), np.int64)
    node_test[order] = np.argsort(by_use)[place]
    return node_test, tests[order[first[by_use]]], ages[order[first[by_use]]]
