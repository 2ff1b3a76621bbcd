"""How long work says where it is."""

from collections.abc import Callable

from features.replay import Progress as Part

Progress = Callable[[str, int, int], None]
"""Called with the stage, what is done of it and what there is of it in all."""


def quiet(stage: str, done: int, of: int) -> None:
    """Report nothing."""


def staged(progress: Progress, stage: str) -> Part:
    """What the parts of one stage are reported to."""
    return lambda done, of: progress(stage, done, of)
