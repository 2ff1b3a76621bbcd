"""From log to bundle: what became of every impression, what was known at its moment, and what follows from it.

``train`` reads a log, writes a bundle and has it served if it may be; ``evaluate`` judges one beside baselines, on days
it was not trained on; ``rolling`` judges training itself, a bundle a day; ``evaluate_retrieval`` judges the sources.
``learn`` keeps a bundle in memory; ``publish`` writes it, judges and reports it, and promotes it if the gate lets it;
``registry`` knows all of them and turns back. A ``Recipe`` is what a training is asked for.
``labels``, ``examples``, ``factors``, ``heads`` and ``calibration`` are the steps of the way, ``pipeline`` the way.
``metrics`` and ``bootstrap`` are the figures and their intervals; ``audit`` shows that no feature knows the future.
Serving never imports this package: both meet in a bundle on disk.
"""

from training.audit import audit
from training.declared import read_features, read_objective
from training.evaluate import Row, evaluate, to_json
from training.grower import Growth
from training.labels import HEADS, Labels, label
from training.one_call import TrainResult, train
from training.pipeline import Learned, learn
from training.progress import Progress
from training.publish import Published, publish
from training.recipe import Recipe
from training.retrieval import evaluate_retrieval
from training.rolling import rolling

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
