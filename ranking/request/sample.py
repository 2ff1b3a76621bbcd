"""What is kept of a sampled decision, so that all of it can be computed again."""

import hashlib
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from features.records import Decision, Found
from features.state import FeatureState
from ranking.api import Feed, FeedItem
from ranking.mixing.exploration import uniform
from ranking.request.making import Made
from ranking.types import Candidates

GIVEN = "request"
"""What answers call the source of items that a caller named."""
SHARE = 0.01
"""Of how many pages the decision is kept, if nothing else is said."""


def is_kept(request_id: str, share: float) -> bool:
    """Whether a request is one of the share whose decisions are kept: the same ones wherever it is asked."""
    return share > 0 and uniform(request_id, "decision") < share


def found_by(state: FeatureState, candidates: Candidates, names: Sequence[str], source: str = "") -> tuple[Found, ...]:
    """Candidates by source, in the order they were found; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
        Whose rows the candidates are.
    candidates : Candidates
    names : sequence of str
        Of sources, by their codes.
    source : str
        Instead of any of them.
    """
    rows, codes = candidates.rows, candidates.source
    starts = np.flatnonzero(np.diff(codes.astype(np.int16), prepend=-1)).tolist()
    ends = [*starts[1:], len(rows)]
    return tuple(
        Found(source or names[codes[start]], tuple(state.items.name(row) for row in rows[start:end].tolist()))
        for start, end in zip(starts, ends, strict=len(rows) > 0)
    )


def decision_of(
    feed: Feed, made: Made, found: tuple[Found, ...], seen: tuple[str, ...], checked_offset: int
) -> Decision:
    """What the log keeps of a decision beside the page."""
    values = tuple(item.value if math.isfinite(item.value) else None for item in feed.items)
    return Decision(
        request_id=feed.request_id,
        ts_ms=feed.now_ms,
        checked_offset=checked_offset,
        count=made.lift.scored.batch.query.count,
        level=made.level,
        found=found,
        seen=seen,
        granted=dict(made.granted),
        values=values,
        digest=digest_of(feed.items),
        unlogged=made.lift.scored.batch.query.unlogged,
    )


def digest_of(items: Sequence[FeedItem]) -> str:
    """Sixteen hexadecimal digits over all that was decided of a page's items, scores to the last bit."""
    told = [
        (one.item_id, one.source, one.propensity, one.boost_spent, one.value, one.terms, one.heads) for one in items
    ]
    return hashlib.blake2b(msgspec.json.encode(told), digest_size=8).hexdigest()
