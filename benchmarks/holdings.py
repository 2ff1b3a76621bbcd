"""What is kept of each person and each item in memory, by part and in sum: bytes in use and room to grow."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.report import Row, resident_gib
from features.fold.storage import leaves
from features.state import FeatureState
from features.types import AnyArray
from ranking.request.generation import Generation


def user_bytes(state: FeatureState) -> dict[str, float]:
    """Bytes a person by part, pairs included."""
    arrays = state.arrays
    return {
        "counters": _a_row(arrays.tables[0]),
        "pairs": _a_row([array for pair in arrays.pairs for array in pair]),
        "rings": _a_row([*arrays.rings, arrays.sessions.at, arrays.sessions.newest]),
        "profile": _a_row(arrays.users),
        "names": state.users.nbytes / (len(state.users) - 1),
    }


def item_bytes(generation: Generation) -> dict[str, float]:
    """Bytes an item by part: what the state keeps, and what a generation makes of it with its bundle.

    Vectors are counted in floats, and once more in the bytes that indexes search by. ``known`` are the names of the
    items that training knew, once for factors and once for tastes.
    """
    state, reader, forest = generation.state, generation.reader, generation.ranker.forest
    items, tastes = len(state.items) - 1, reader.factors.tastes
    searched = Counter[str]()
    for index in generation.indexes.values():
        searched.update(index.memory())
    return {
        "counters": _a_row(state.arrays.tables[1]),
        "catalog": _a_row(state.arrays.items),
        "records": state.payloads.nbytes / items,
        "names": state.items.nbytes / items,
        "codes": float(len(forest.columns_of(reader.feature_set.still))) if forest and forest.compiled else 0.0,
        "vectors": _a_row([reader.vectors.item]),
        "tastes": _a_row([reader.tastes]),
        **{f"index_{part}": size / items for part, size in searched.items() if size},
        "known": (reader.factors.item_ids.nbytes + (tastes.of_items.item_ids.nbytes if tastes else 0)) / items,
    }


def memory_rows(generation: Generation, before_gib: float) -> tuple[list[Row], dict[str, float]]:
    """Rows of parts and of the process, and the two sums as ratios.

    The sums leave out what is kept of neither (authors, trees, the log's buffers), the few bytes by which sources mark
    rows, and the bundle's own vectors, which are mapped from its file: the system may let go of them.
    ``process_bytes_an_item`` leaves out nothing: it is all that the process holds beyond what it held before and beyond
    people, as if all of that were items'.
    """
    state = generation.state
    users, items = len(state.users) - 1, len(state.items) - 1
    a_user, an_item = user_bytes(state), item_bytes(generation)
    sums = {"feed.bytes_a_user": sum(a_user.values()), "feed.bytes_an_item": sum(an_item.values())}
    resident = resident_gib()
    process = 2**30 * (resident - before_gib) - users * sums["feed.bytes_a_user"]
    whole: Row = {
        "system": "memory",
        "users": users,
        "items": items,
        "bytes_a_user": sums["feed.bytes_a_user"],
        "bytes_an_item": sums["feed.bytes_an_item"],
        "process_bytes_an_item": process / items,
        "mapped_bytes_an_item": generation.reader.factors.items.nbytes / items,
        "arrays_gib": sum(array.nbytes for array in leaves(state.arrays)) / 2**30,
        "before_gib": before_gib,
        "resident_gib": resident,
    }
    parts: list[Row] = [
        {"system": f"memory: {whose}, {part.replace('_', ', ')}", "bytes_each": size}
        for whose, by_part in (("a user", a_user), ("an item", an_item))
        for part, size in by_part.items()
    ]
    return [whole, *parts], sums


def _a_row(arrays: Sequence[AnyArray]) -> float:
    return float(sum(array.nbytes / len(array) for array in arrays))
