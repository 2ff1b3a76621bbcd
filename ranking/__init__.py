"""One request: from a person who asked for nothing to a page worth their time.

An ``Engine`` holds a home open: its log, its feature state, and a ``Generation`` of bundle, indexes and sources. A feed
is retrieved, judged by the legal rules, scored by every head in one pass, valued, mixed, and checked once more before
it leaves. Policy and bundle are data; time is an argument.
"""

from ranking.bundle import Bundle
from ranking.engine import Engine
from ranking.policy import Policy
from ranking.types import Ack, Feed, FeedItem, FeedRequest, Ranker, RankRequest, Source, Status, VectorIndex
from ranking.value import Weights

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
