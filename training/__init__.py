"""From log to bundle: what became of every impression, what was known at its moment, and what follows from it.

``train`` reads a log, writes a bundle and has it served if it may be; ``evaluate`` judges one beside baselines, on days
it was not trained on; ``rolling`` judges training itself, a bundle a day; ``evaluate_retrieval`` judges the sources.
``learn`` keeps a bundle in memory; ``publish`` writes it, judges and reports it, and promotes it if the gate lets it;
``registry`` knows all of them and turns back. A ``Recipe`` is what a training is asked for.
Its rooms: ``learning`` is the way from a log to a bundle, ``baselines`` what ours must beat, ``judging`` the figures,
``reports`` the page they are looked at on, and ``loops`` are lives of a bundle in a world.
Serving never imports this package: both meet in a bundle on disk.
"""

from training.declared import read_features, read_objective
from training.judging.evaluate import Row, evaluate, to_json
from training.judging.retrieval import evaluate_retrieval
from training.judging.rolling import rolling
from training.learning.audit import audit
from training.learning.grower import Growth
from training.learning.labels import HEADS, Labels, label
from training.learning.pipeline import Learned, learn
from training.learning.recipe import Recipe
from training.one_call import TrainResult, train
from training.progress import Progress
from training.publish import Published, publish

__all__ = [
    "HEADS",
    "Growth",
    "Labels",
    "Learned",
    "Progress",
    "Published",
    "Recipe",
    "Row",
    "TrainResult",
    "audit",
    "evaluate",
    "evaluate_retrieval",
    "label",
    "learn",
    "publish",
    "read_features",
    "read_objective",
    "rolling",
    "to_json",
    "train",
]
