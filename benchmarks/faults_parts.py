"""Parts of an engine that raise, or take longer, for a while: what stands at their borders is called as ever."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from ranking.candidates.sources import Fresh, Trending
from ranking.request.generation import Generation

PARTS = ("index", "ranker", "ranker and charts", "state")


@contextmanager
def failing(generation: Generation, part: str, slow_s: float) -> Iterator[None]:
    """Let a part fail: it raises, or takes so many seconds longer.

    Parameters
    ----------
    generation : Generation
    part : str
        Of ``PARTS``: the search of every index, the ranker's predictions, these and the charts, or candidates' rows.
    slow_s : float
        0 to let it raise.
    """
    ranker: list[tuple[object, str]] = [(generation.ranker, "predict")]
    borders: dict[str, list[tuple[object, str]]] = {
        "index": [(index, "search") for index in generation.indexes.values()],
        "ranker": ranker,
        "ranker and charts": [*ranker, (Trending, "retrieve"), (Fresh, "retrieve")],
        "state": [(generation, "assemble")],
    }
    with ExitStack() as failed:
        for owner, name in borders[part]:
            failed.enter_context(patch.object(owner, name, _failing(getattr(owner, name), part, slow_s)))
        yield


def _failing(call: Callable[..., object], part: str, slow_s: float) -> Callable[..., object]:
    def fails(*args: object, **named: object) -> object:
        if not slow_s:
            raise RuntimeError(f"The {part} fails.")
        time.sleep(slow_s)
        return call(*args, **named)

    return fails
