"""One request: from a person who asked for nothing to a page worth their time.

An ``Engine`` holds a home open: its log, its feature state, and a ``Generation`` of bundle, indexes and sources. A feed
is retrieved, judged by the legal rules, scored by every head in one pass, valued, mixed, and checked once more before
it leaves. Policy and bundle are data; time is an argument. What is said and heard alone is in ``ranking.api``.
Its rooms, from the ground up: ``policy``, ``forest``, ``bundles``, ``index``, ``candidates``, ``mixing``, ``request``,
``succession`` and ``replay``; each says in its ``__init__`` what stands in it.
"""

from typing import TYPE_CHECKING

from features.deferred import deferred
from ranking.api import Ack, Feed, FeedItem, FeedRequest, RankRequest, Status

if TYPE_CHECKING:
    from ranking.bundles.bundle import Bundle
    from ranking.engine import Engine
    from ranking.policy import Policy
    from ranking.types import Ranker, Source, VectorIndex
    from ranking.value import Weights
else:
    __getattr__ = deferred(
        __name__,
        {
            "Bundle": "ranking.bundles.bundle",
            "Engine": "ranking.engine",
            "Policy": "ranking.policy",
            "Ranker": "ranking.types",
            "Source": "ranking.types",
            "VectorIndex": "ranking.types",
            "Weights": "ranking.value",
        },
    )

__all__ = [
    "Ack",
    "Bundle",
    "Engine",
    "Feed",
    "FeedItem",
    "FeedRequest",
    "Policy",
    "RankRequest",
    "Ranker",
    "Source",
    "Status",
    "VectorIndex",
    "Weights",
]
