"""A home small enough to make in a second: forty items, and a bundle that has learned that liked authors are liked."""

import math
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np

from features.columns import Age, Category, Column, Cosine, Count, InContext, Rate, Recency
from features.factors import Factors
from features.grams import BUCKETS
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, merge, records_table
from features.reader import Codes
from features.records import Action, Event, Item, Kind, Record, User
from features.schema import FeatureSet
from ranking.bundles.bundle import Bundle, Head, Trained, save
from ranking.bundles.calibration import Calibrator
from ranking.bundles.model_text import model_names
from ranking.bundles.pointer import promote
from ranking.value import Weights

NOW = 20_000 * DAY_MS
KINDS = (Kind.ROOM, Kind.PRODUCT, Kind.VIDEO, Kind.VIDEO)
FEATURES = FeatureSet(
    (
        Column("item.price"),
        Rate("user*author", "like", prior=1),
        Rate("item", "click"),
        Rate("author", "complete", half_life="1h"),
        Count("user", "impression", half_life="1h"),
        Recency("user*author", "like"),
        Recency("item", "watch"),
        Age("item.live_from_ms"),
        InContext("hour"),
        InContext("device"),
        Category("item.category"),
        Cosine("user.factors", "item.factors"),
        Cosine("user.factors", "author.factors"),
    )
)


def bundle(features: FeatureSet = FEATURES) -> Bundle:
    rng = np.random.default_rng(0)
    rows = rng.random((4000, len(features.columns)))
    margins = 4 * rows[:, 1] + rows[:, 2] - 2
    table = lgb.Dataset(rows, rng.random(4000) < 1 / (1 + np.exp(-margins)), feature_name=model_names(features))
    options = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbose": -1, "seed": 0}
    model = lgb.train(options, table, 20).model_to_string()
    knots = tuple(np.linspace(-4, 4, 33).tolist())
    calibrator = Calibrator(0.2, knots, tuple(1 / (1 + math.exp(-x)) for x in knots))
    head = Head(DAY_MS, (0.0, 0.2, 0.2, 0.2), {1: calibrator, 2: calibrator, 3: calibrator})
    return Bundle(
        feature_set=features,
        codes=Codes({"item.category": ("c",), "context.device": ("phone",)}),
        factors=replace(
            Factors.empty(),
            author_ids=tuple(f"a{n}" for n in range(8)),
            authors=rng.normal(size=(8, 8)).astype(np.float32),
            words=rng.normal(size=(BUCKETS, 8)).astype(np.float32),
        ),
        bins=((),) * len(features.columns),
        models={"like": model, "complete": model},
        heads={"like": head, "complete": head},
        weights=Weights(),
        trained=Trained(0, NOW, 0, 0),
    )


def catalog() -> list[Record]:
    items: list[Record] = [
        Item(
            f"i{n}", NOW - DAY_MS, KINDS[n % 4], title=f"好货 {n}", author_id=f"a{n % 10}", category="c", price=n,
            live_from_ms=NOW - 60_000 * n - 1,
        )
        for n in range(40)
    ]  # fmt: skip
    rooms = [Event(f"start{n}", NOW - 1000, f"i{n}", Action.ROOM_START) for n in range(0, 40, 4)]
    return [*items, User("u1", NOW - DAY_MS, gender="f"), *rooms]


def make(folder: Path) -> Path:
    """Write the home into a folder."""
    promote(folder / "bundles", save(bundle(), folder / "bundles", {}).name)
    with HomeLog(folder / "log", writer=True) as log:
        log.import_tables([merge([records_table([(NOW - 1000, record) for record in catalog()])])])
    return folder
