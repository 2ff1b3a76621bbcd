"""Questions beside the page: which items of an earlier page may still be shown, and what is near an item.

The caller holds the mutex.
"""

from features.errors import RequestError
from features.records import Context, Item
from ranking.api import Alive, AliveRequest, FeedItem
from ranking.request.generation import Generation
from ranking.request.show import Told, shown, why_of


def alive(generation: Generation, request: AliveRequest, now_ms: int) -> Alive:
    """Which items of a page that was fetched earlier may still be shown to a person, and why others may not."""
    generation.policy.refuse_unknown(request.surface)
    names = tuple(dict.fromkeys(request.item_ids))
    query = generation.query("", request.user_id, 1, Context(request.surface), now_ms)
    rows = generation.state.items.find_all(names)
    known = zip(names, rows.tolist(), generation.why_not(query, rows), strict=True)
    why = {name: reason if row else "unknown" for name, row, reason in known}
    return Alive(tuple(name for name in names if not why[name]), {name: said for name, said in why.items() if said})


def similar(generation: Generation, item_id: str, k: int, now_ms: int) -> tuple[FeedItem, ...]:
    """At most k presentable items of the same kind, nearest in taste first, ties by row."""
    state = generation.state
    item(generation, item_id)
    row = state.items.find(item_id)
    # Twice as many as asked for, since some may have gone.
    rows, scores = generation.alike(row, 2 * k + 1)
    fit = generation.showable(rows, now_ms) & (rows != row)
    near = rows[fit][:k]
    n = len(near)
    told = Told(
        value=scores[fit][:k].tolist(),
        source=["similar"] * n,
        why=[why_of("similar", "", 0)] * n,
        terms=[{} for _ in range(n)],
        heads=[{} for _ in range(n)],
        features=[{} for _ in range(n)],
        propensity=[1.0] * n,
        boosted=[False] * n,
        sells=[False] * n,
    )
    return shown(state.payloads.listed(near), told)


def item(generation: Generation, item_id: str) -> Item:
    """The catalog's row of an item."""
    state = generation.state
    found = state.item(state.items.find(item_id))
    if found is None:
        raise RequestError(f"Item {item_id!r} is not in the catalog.", "Put it there first.")
    return found
