"""LightGBM's model text taken apart and checked: its trees as arrays, or a refusal that names what is damaged."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.errors import BundleError
from features.types import DoubleArray, IntArray
from ranking.forest.model import MAX_LEAVES

_AGAIN = "Save the model again with Booster.save_model() or model_to_string(), and leave the text as it is."
_MOST = 2**31  # LightGBM's integers


class Uncompilable(Exception):  # noqa: N818  a reason to fall back, not an error
    """Why the kernel cannot score a model that LightGBM can."""


class Tree(NamedTuple):
    """One tree as LightGBM's text has it; a child ``c < 0`` is the leaf ``~c``."""

    feature: IntArray
    threshold: DoubleArray
    decision: IntArray  # bit 0 categorical, bit 1 missing goes left, bits 2 and 3 missing is: 0 none, 1 zero, 2 NaN
    left: IntArray
    right: IntArray
    leaves: DoubleArray
    cat_start: IntArray
    cat_words: NDArray[np.uint32]


class Opened(NamedTuple):
    """A model's features by name, and the texts of its trees."""

    features: list[str]
    trees: list[str]


def open_model(name: str, text: str) -> Opened:
    """Take the text of a head apart.

    Raises
    ------
    BundleError
        If it is not the whole text of a model of one output, or was changed after LightGBM wrote it.
    """
    head, *trees = text.split("\nTree=")
    fields = _fields(head)
    if fault := _odd(text, head) or ("it does not tell tree_sizes" if "tree_sizes" not in fields else ""):
        raise BundleError(f"Head {name!r} is not the whole text of a LightGBM model: {fault}.", _AGAIN)
    outputs, width = [_count(name, fields, key) for key in ("num_tree_per_iteration", "max_feature_idx")]
    if outputs != 1 or _count(name, fields, "num_class") != 1:
        raise BundleError(f"Head {name!r} has several outputs.", "Train one model a head.")
    features = fields.get("feature_names", "").split()
    if len(features) != width + 1:
        counts = f"max_feature_idx={width}, but names {len(features)} features"
        raise BundleError(f"The header of head {name!r} is damaged: it says {counts}.", _AGAIN)
    trees[-1:] = [tree.partition("\nend of trees")[0] for tree in trees[-1:]]
    _check_sizes(name, fields["tree_sizes"].split(), trees, len(head.encode()) + 1)
    return Opened(features, [tree.split("\n\n", 1)[0] for tree in trees])


def _odd(text: str, head: str) -> str:
    """Why a text cannot be whole, empty if it may be."""
    first = text.partition("\n")[0]
    if text.startswith("\ufeff"):
        return "it begins with a byte order mark"
    if "\r\n" in head:
        return "its lines end in CR LF"
    if first != "tree":
        return "its lines end in blanks" if first.rstrip() == "tree" else "it does not begin with the line 'tree'"
    return "" if "\nend of trees" in text else "it has no line 'end of trees'"


def _count(name: str, fields: dict[str, str], key: str) -> int:
    told = fields.get(key)
    if told is None or not (told.isascii() and told.isdigit() and len(told) <= len(str(_MOST)) and int(told) < _MOST):
        said = "says nothing of " + key if told is None else f"says {key}={told[:40]}, which is no count"
        raise BundleError(f"The header of head {name!r} is damaged: it {said}.", _AGAIN)
    return int(told)


def _check_sizes(name: str, sizes: list[str], trees: list[str], place: int) -> None:
    """Compare the bytes of trees with what the header tells: LightGBM ends the process where it finds none there."""
    if len(sizes) != len(trees):
        raise BundleError(f"Head {name!r} has {len(trees)} trees, and {len(sizes)} tree_sizes.", _AGAIN)
    for age, (size, tree) in enumerate(zip(sizes, trees, strict=True)):
        real = len(f"Tree={tree}\n".encode())
        if size != str(real):
            where = f"Tree {age} of head {name!r}, from byte {place} on,"
            raise BundleError(
                f"{where} takes {real} bytes, and {size[:40]} by tree_sizes: the text was changed.", _AGAIN
            )
        place += real


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def parse_tree(where: str, block: str, n_features: int) -> Tree:
    """One tree, checked; raises ``Uncompilable`` where the kernel cannot follow it."""
    text = _fields(block)

    def ints(key: str) -> IntArray:
        return np.array(text.get(key, "").split(), np.int64)

    def doubles(key: str) -> DoubleArray:
        return np.array(text.get(key, "").split(), np.float64)

    try:
        linear, leaves = text.get("is_linear", "0") != "0", int(text["num_leaves"])
        tree = Tree(
            *(ints("split_feature"), doubles("threshold"), ints("decision_type")),
            *(ints("left_child"), ints("right_child"), doubles("leaf_value")),
            *(ints("cat_boundaries"), ints("cat_threshold").astype(np.uint32)),
        )
    except (KeyError, ValueError, OverflowError) as damage:
        raise BundleError(f"The text of {where} is damaged: {damage}.", "Save the model again.") from damage
    if not _is_whole(tree, leaves, n_features):
        raise BundleError(f"The text of {where} is damaged.", "Save the model again.")
    if linear:
        raise Uncompilable(f"{where} is linear")
    if leaves > MAX_LEAVES:
        raise Uncompilable(f"{where} has {leaves} leaves, more than {MAX_LEAVES}")
    if np.isnan(tree.threshold).any():
        raise Uncompilable(f"{where} has a threshold that is NaN")
    return tree


def _is_whole(tree: Tree, leaves: int, n_features: int) -> bool:
    """Whether every node and leaf is reached once, from an earlier node, and nothing points outside."""
    if len(tree.leaves) != leaves or any(len(part) != leaves - 1 for part in tree[:5]):
        return False
    children, nodes = np.stack([tree.left, tree.right]), np.arange(leaves - 1)
    reached = np.concatenate([np.arange(-leaves, 0), nodes[1:]])
    ordered = ((children < 0) | (children > nodes)).all() and np.array_equal(np.sort(children, axis=None), reached)
    decided = ((tree.decision >= 0) & (tree.decision >> 2 <= 2)).all()
    sets = tree.threshold[tree.decision & 1 == 1]
    known = ((sets >= 0) & (sets < len(tree.cat_start) - 1)).all() and (np.diff(tree.cat_start) >= 0).all()
    inside = ((tree.feature >= 0) & (tree.feature < n_features)).all() and len(tree.cat_words) == max(
        [0, *tree.cat_start]
    )
    return bool((leaves == 1 or ordered) and decided and (len(sets) == 0 or known) and inside)
