"""LightGBM's text of a model, as text: trees of several models joined into one, to the bit what they say together."""

import re
from collections.abc import Sequence
from itertools import chain, zip_longest

_SCALED = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)


def joined(texts: Sequence[str]) -> str:
    """One model whose raw margin is the sum of the models'; their trees one model after the other.

    What else the text says, such as the objective, is the last one's.
    """
    return _written(texts[-1], [tree for text in texts for tree in trees_of(text)])


def scaled(text: str, share: float) -> str:
    """One model whose raw margin is a share of the model's."""
    return _written(text, [_scaled(tree, share) for tree in trees_of(text)])


def averaged(texts: Sequence[str]) -> str:
    """One model whose raw margin is the mean of the models'."""
    return texts[0] if len(texts) == 1 else mixed(texts, [1 / len(texts)] * len(texts))


def mixed(texts: Sequence[str], shares: Sequence[float]) -> str:
    """One model whose raw margin is a share of each model's, added up.

    The first tree of each comes first, then the second of each: the first trees of all say most, as in one model.
    """
    parts = zip(texts, shares, strict=True)
    turns = zip_longest(*([_scaled(tree, share) for tree in trees_of(text)] for text, share in parts))
    return _written(texts[0], [tree for tree in chain(*turns) if tree is not None])


def stacked(texts: Sequence[str], shares: Sequence[float], line: str) -> str:
    """A line's tree, if there is one, then shares of models: the first two, which order items, in turn, then the rest.

    What has no share is left out; one model without a line is left as it is.
    """
    if not line and len(texts) == 1:
        return texts[0]
    parts = [(text, share) for text, share in zip(texts[:2], shares[:2], strict=True) if share > 0]
    ordering = [mixed(*zip(*parts, strict=True))] if parts else []
    level = [scaled(text, share) for text, share in zip(texts[2:], shares[2:], strict=True) if share > 0]
    return joined([*([line] if line else []), *ordering, *level])


def trees_of(text: str) -> list[str]:
    """The trees of a model, without their numbers."""
    blocks = text[: text.index("\nend of trees")].split("\nTree=")[1:]
    return [block.split("\n", 1)[1].rstrip("\n") for block in blocks]


def _scaled(tree: str, share: float) -> str:
    def less(found: re.Match[str]) -> str:
        return f"{found[1]}={' '.join(repr(float(value) * share) for value in found[2].split())}"

    return _SCALED.sub(less, tree)


def _written(like: str, trees: Sequence[str]) -> str:
    """The text of these trees; all else is that of another model, but for importances, which were its trees'."""
    opening, ending = like[: like.index("tree_sizes=")], like[like.index("\nparameters:") :]
    blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(block)) for block in blocks)
    return f"{opening}tree_sizes={sizes}\n\n{''.join(blocks)}end of trees\n{ending}"
