"""How far a second bundle agrees with the one that is served, over the pages that both have scored."""

import msgspec


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What the second bundle expects of a head beyond the first: on average, and however it is signed."""

    mean: float
    mean_abs: float


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Means over ``pages``; ``dropped`` were to be scored while another was, and ``failed`` could not be.

    ``overlap`` is the share of the first ten by value that both have; ``rank_correlation`` is Spearman's over all
    candidates of a page; ``heads`` are those that both bundles have.
    """

    bundle: str
    beside: str
    pages: int = 0
    dropped: int = 0
    failed: int = 0
    overlap: float = 0.0
    rank_correlation: float = 0.0
    heads: dict[str, Difference] = {}
