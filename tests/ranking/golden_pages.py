"""A small seeded market whose pages are kept to the bit in ``golden/pages.json``: what is made faster may change none.

Nothing in it depends on how a machine rounds: vectors are whole numbers of 256ths, trees are those of ``golden/trees``,
and products are too few for lists, which are trained. Rooms are enough for a search by bytes, candidates for two tiles
of rows and a first look, trees for two bands. Where pages are meant to change ``python -m tests.ranking.golden_pages``
writes the file anew.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.market import HEADS, NOW_MS, POLICY, Market, factors, features, reader_of, sample_rows, state_of, train
from features.factors import Factors
from features.logs.live import HomeLog
from features.logs.log import DAY_MS
from features.outcomes import PRODUCT, ROOM
from features.types import FloatArray
from ranking import Engine, FeedRequest
from ranking.bundles.bundle import Bundle, Head, Trained, save
from ranking.bundles.calibration import Calibrator
from ranking.bundles.pointer import promote
from ranking.value import Weights

MARKET = Market(rooms=2_400, products=3_000, users=300, events=20_000, samples=4_000, trees=40, leaves=10)
GOLDEN = Path(__file__).parent / "golden"
TEXTS = ("one", "other")
"""Heads have one or the other text of trees, in turn."""
PEOPLE = range(1, 300, 50)
PAGE = 50


class Shown(msgspec.Struct, frozen=True):
    """What is kept of an item on a page; numbers as ``float.hex`` writes them."""

    item_id: str
    value: str
    heads: tuple[str, ...]


Pages = dict[str, list[Shown]]


def pages(home: Path) -> Pages:
    """The pages of some people, by their ids."""
    make(home)
    with Engine.open(home, writer=False) as engine:
        asked = {f"u{n}": FeedRequest(user_id=f"u{n}", count=PAGE) for n in PEOPLE}
        found = {user: engine.feed(request, NOW_MS, f"golden-{user}") for user, request in asked.items()}
    return {
        user: [Shown(one.item_id, one.value.hex(), tuple(p.hex() for p in one.heads.values())) for one in feed.items]
        for user, feed in found.items()
    }


def kept() -> Pages:
    """The pages as they were."""
    return msgspec.json.decode((GOLDEN / "pages.json").read_bytes(), type=Pages)


def make(home: Path) -> None:
    """Write the market into a home."""
    with HomeLog(home / "log", writer=True) as log:
        log.import_tables(MARKET.tables())
    promote(home / "bundles", save(_bundle(), home / "bundles", {}).name)
    (home / "policy.toml").write_text(POLICY.replace("keep = 1000", "trees = 8\nkeep = 700"), "utf-8")


def _bundle() -> Bundle:
    reader = reader_of(MARKET)
    # Margins and probabilities that are written in bits as they are.
    knots = tuple((np.arange(33) / 4 - 4).tolist()), tuple((np.arange(1, 34) / 64).tolist())
    calibrator = Calibrator(0.25, *knots)
    head = Head(DAY_MS, (0.0, 0.25, 0.25, 0.0), {ROOM: calibrator, PRODUCT: calibrator})
    texts = [(GOLDEN / "trees" / f"{name}.txt").read_text("utf-8") for name in TEXTS]
    return Bundle(
        feature_set=features(),
        codes=reader.codes,
        factors=_factors(),
        bins=((),) * len(features().columns),
        models={name: texts[n % len(texts)] for n, name in enumerate(HEADS)},
        heads=dict.fromkeys(HEADS, head),
        weights=Weights(),
        trained=Trained(NOW_MS - 4 * DAY_MS, NOW_MS, 0, 0),
    )


def _factors() -> Factors:
    """The market's, of vectors that any machine makes alike: near those of their authors, these near a category's."""
    rng, like = np.random.default_rng(1), factors(MARKET)

    def near(middles: FloatArray, most: int) -> FloatArray:
        drawn: FloatArray = rng.integers(-most, most + 1, middles.shape).astype(np.float32)
        return middles + drawn * np.float32(1 / 256)

    categories = near(np.zeros_like(like.categories), 60)
    authors = near(categories[np.arange(len(like.authors)) % len(categories)], 50)
    items = near(authors[MARKET.hosts_of(np.arange(len(like.items)))], 40)
    tastes = like.tastes
    if tastes is not None:
        known = tastes.of_items
        matrices = [near(np.zeros_like(one), 64) for one in (known.items, known.authors, known.categories)]
        known = replace(known, items=matrices[0], authors=matrices[1], categories=matrices[2])
        by_name = {column: near(np.zeros_like(matrix), 64) for column, matrix in tastes.vectors.items()}
        tastes = replace(tastes, of_items=known, vectors=by_name)
    return replace(like, items=items, authors=authors, categories=categories, tastes=tastes)


def _write() -> None:
    trees = GOLDEN / "trees"
    if not trees.exists():
        trees.mkdir()
        reader, state = reader_of(MARKET), state_of(MARKET)
        reader.catch_up(state, state.described())
        models = train(MARKET, reader, sample_rows(MARKET, reader, state)).models
        for name, text in zip(TEXTS, models.values(), strict=False):
            (trees / f"{name}.txt").write_text(text, "utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (GOLDEN / "pages.json").write_bytes(msgspec.json.format(msgspec.json.encode(pages(Path(folder))), indent=1))


if __name__ == "__main__":
    _write()
