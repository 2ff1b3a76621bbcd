"""Judged days on disk: a rolling evaluation that was stopped goes on with the day it had come to."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.logs.log import sync_folder
from training.baselines.task import Scores
from training.judging.figures import Judged
from training.judging.watch import Watch
from training.learning.labels import Labels
from training.learning.pipeline import PACKAGES
from training.learning.recipe import Recipe

PARTS = ("features", "ranking", "training")
"""Packages of which every line can change what a day's figures are."""

Arrays = dict[str, NDArray[Any]]


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file holds beside its arrays: what they were made of, and names."""

    digest: str
    windows_ms: dict[str, int]
    systems: tuple[str, ...]
    slices: tuple[str, ...]
    watches: tuple[str, ...]


def digest_of(end: int, days: Sequence[int], recipe: Recipe) -> str:
    """What a judged day depends on: the log's end, the day, the recipe, this code and the libraries under it.

    Parameters
    ----------
    end : int
        The log's end: a home's log only grows.
    days : sequence of int
        When the day begins and ends, in ms.
    """
    warm = recipe.warm.version if recipe.warm else ""
    columns = recipe.columns.columns if recipe.columns else ()
    asked = (end, tuple(days), recipe.since_ms, recipe.seed, recipe.utc_offset_ms, columns)
    packages = {name: version(name) for name in PACKAGES}
    digest = hashlib.sha256(msgspec.json.encode((asked, recipe.weights, recipe.growth, warm, packages)))
    for part in PARTS:
        for file in sorted(Path(str(files(part))).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def put(path: Path, digest: str, on: Judged) -> None:
    """Write a judged day, whole or not at all."""
    names = Contents(
        digest,
        on.labels.windows_ms,
        tuple(on.systems),
        tuple(on.slices),
        tuple(on.watch.predicted_ms) if on.watch else (),
    )
    contents = np.frombuffer(msgspec.json.encode(names), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, contents=contents, **_arrays(on))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def get(path: Path, digest: str) -> Judged | None:
    """The judged day of a file; None where there is none, or none that this digest made."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            contents = msgspec.json.decode(held["contents"].tobytes(), type=Contents)
            return _judged(contents, dict(held)) if contents.digest == digest else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, msgspec.MsgspecError):
        return None


def _arrays(on: Judged) -> Arrays:
    labels = on.labels
    found: Arrays = {"user": on.user, "slate": on.slate, "mature": on.mature, "gain": on.gain, "plain": on.plain}
    found |= {"y": labels.y, "kind": labels.kind, "begins": labels.begins, "ends": labels.ends}
    for number, scores in enumerate(on.systems.values()):
        found |= {f"score{number}": scores.score, f"value{number}": scores.value}
        if scores.probabilities is not None:
            found[f"probabilities{number}"] = scores.probabilities
    found |= {f"slice{number}": rows for number, rows in enumerate(on.slices.values())}
    if on.watch is not None:
        found |= {"watched": on.watch.watched_ms, "percentile": on.watch.percentile}
        found |= {f"watch{number}": rows for number, rows in enumerate(on.watch.predicted_ms.values())}
    return found


def _judged(names: Contents, held: Arrays) -> Judged:
    return Judged(
        user=held["user"],
        slate=held["slate"],
        labels=Labels(held["y"], held["kind"], held["begins"], held["ends"], names.windows_ms),
        mature=held["mature"],
        gain=held["gain"],
        plain=held["plain"],
        systems={
            name: Scores(held[f"score{number}"], held[f"value{number}"], held.get(f"probabilities{number}"))
            for number, name in enumerate(names.systems)
        },
        slices={name: held[f"slice{number}"] for number, name in enumerate(names.slices)},
        watch=Watch(
            held["watched"],
            held["percentile"],
            {name: held[f"watch{number}"] for number, name in enumerate(names.watches)},
        )
        if names.watches
        else None,
    )
