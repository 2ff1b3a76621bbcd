"""From a log to what is served: one call, the same bundle from the same log and seed."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from features.logs.log import EventLog
from training.gate import Verdict
from training.learning.examples import Slices
from training.learning.pipeline import learn
from training.learning.recipe import Recipe
from training.progress import Progress, quiet
from training.publish import publish


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What was trained on what.

    ``rows`` are the impressions of each slice, ``positives`` those of each head in each; ``dropped`` says why a head
    was not trained; ``audited`` slates were read again from a log that ended at their moment, after the factors of a
    day and the codes were learned again from logs that ended before theirs. ``verdict`` says whether it is served.
    """

    version: str
    place: Path
    slices: Slices
    rows: dict[str, int]
    positives: dict[str, dict[str, int]]
    dropped: dict[str, str]
    audited: int
    verdict: Verdict


def train(
    log: EventLog,
    bundles: Path,
    recipe: Recipe | None = None,
    *,
    now_ms: int | None = None,
    force: str = "",
    progress: Progress = quiet,
) -> TrainResult:
    """Train a bundle and make it the current one, if it is the first or ``publish`` finds it not worse than what is.

    Parameters
    ----------
    log : EventLog
    bundles : Path
        The folder of bundles.
    recipe : Recipe, optional
        What to learn from, and how. Default: all that was received before the last local day, with standard columns.
    now_ms : int, optional
        When a promotion happens. Default: when the training ended.
    force : str
        Why it is promoted whatever the gate says.

    Raises
    ------
    TrainingError
        If there is too little to learn from, or the features know what they could not.
    """
    learned = learn(log, recipe, progress=progress)
    ended_ms = learned.bundle.trained.until_ms
    at_ms = ended_ms if now_ms is None else now_ms
    made = publish(
        log, learned, bundles, now_ms=at_ms, timer=perf_counter, force=force, report=False, progress=progress
    )
    counts = (learned.rows, learned.positives, learned.dropped, learned.audited)
    return TrainResult(learned.bundle.version, made.place, learned.slices, *counts, made.verdict)
