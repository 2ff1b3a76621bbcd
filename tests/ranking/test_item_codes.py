from collections.abc import Iterator
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from benchmarks.market import NOW_MS, Market, reader_of, sample_rows, state_of, train
from features.logs.live import HomeLog
from features.logs.log import merge, records_table
from features.reader import Codes, Reader
from features.records import Action, Context, Event, Item, Kind, Record
from features.state import FeatureState
from features.types import DoubleArray
from ranking import Engine, FeedRequest
from ranking.api import FeedItem
from ranking.bundles.bundle import Bundle, save
from ranking.bundles.model_text import model_names
from ranking.bundles.pointer import promote
from ranking.bundles.ranker import BundleRanker
from ranking.forest.item_codes import ItemCodes
from ranking.forest.trees import Forest
from ranking.types import Batch, Ranker
from tests.small_home import FEATURES, NOW, bundle, catalog

TALES = ("c", "d", "e", "", "f")


class ByFloats:
    """The bundle's ranker without codes: every feature reaches it as a float."""

    forest = None

    def __init__(self, of: Bundle) -> None:
        self._ranker = BundleRanker(of)
        self.heads = self._ranker.heads

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        assert batch.coded is None
        return self._ranker.probabilities(batch.features, batch.kinds, trees)


def by_floats(of: Bundle, _: FeatureState) -> Ranker:
    return ByFloats(of)


def learned() -> Bundle:
    """A bundle whose heads ask for price and category, and split them where the catalog's values lie."""
    rng = np.random.default_rng(3)
    rows = rng.random((3000, len(FEATURES.columns)))
    rows[:, 0], rows[:, 10] = rng.integers(0, 40, 3000), rng.integers(0, 5, 3000)
    margins = np.sin(rows[:, 0]) + (rows[:, 10] % 2) + rows[:, 1]
    models = {}
    for head, noise in (("like", 1.0), ("complete", 2.0)):
        y = margins + noise * rng.normal(size=3000) > 1
        table = lgb.Dataset(rows, y, feature_name=model_names(FEATURES), categorical_feature=[10])
        options = {"objective": "binary", "num_leaves": 15, "num_threads": 1, "verbose": -1, "seed": 0}
        models[head] = lgb.train(options, table, 20).model_to_string()
    plain = bundle()
    codes = Codes({"item.category": ("c", "d", "e", "f"), "context.device": ("phone",)})
    return replace(plain, models=models, codes=codes)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Engine]]:
    """Two engines over equal homes: one keeps codes, the other reads floats."""
    opened = []
    for name, ranker in (("codes", None), ("floats", by_floats)):
        home = tmp_path_factory.mktemp(name)
        promote(home / "bundles", save(learned(), home / "bundles", {}).name)
        with HomeLog(home / "log", writer=True) as log:
            log.import_tables([merge([records_table([(NOW - 1000, record) for record in catalog()])])])
        opened.append(Engine.open(home, ranker=ranker) if ranker else Engine.open(home))
    yield opened[0], opened[1]
    for engine in opened:
        engine.close()


def pages(engine: Engine, now_ms: int, *, explain: bool) -> list[FeedItem]:
    found = list[FeedItem]()
    for number, user in enumerate(("u1", "nobody")):
        for surface in ("feed", "plaza"):
            request = FeedRequest(user_id=user, surface=surface, count=30, device="phone", explain=explain)
            found += engine.feed(request, now_ms, f"{now_ms}-{number}-{surface}").items
    return found


def steps() -> list[list[Record]]:
    """Catalog rows that change, come and go, with what people do in between."""
    rng = np.random.default_rng(5)
    out: list[list[Record]] = []
    for turn in range(6):
        records: list[Record] = []
        for n in rng.integers(0, 60, 12).tolist():
            kind = (Kind.ROOM, Kind.PRODUCT, Kind.VIDEO, Kind.VIDEO)[n % 4]
            tale, price = TALES[int(rng.integers(5))], int(rng.integers(0, 40))
            author = f"a{rng.integers(14)}"
            records.append(Item(f"i{n}", NOW + turn, kind, author_id=author, category=tale, price=price))
        for n in rng.integers(0, 60, 8).tolist():
            records.append(Event(f"e{turn}-{n}", NOW + turn, f"i{n}", Action.LIKE, user_id="u1"))
            records.append(Event(f"s{turn}-{n}", NOW + turn, f"i{n - n % 4}", Action.ROOM_START))
        out.append(records)
    return out


def test_codes_kept_by_item_serve_what_floats_serve_to_the_bit(pair: tuple[Engine, Engine]) -> None:
    codes, floats = pair
    for turn, records in enumerate(steps()):
        for engine in pair:
            engine.append(records, NOW + turn)
        for explain in (False, True):
            ours = pages(codes, NOW + turn + 1, explain=explain)
            assert len(ours) > 40
            assert ours == pages(floats, NOW + turn + 1, explain=explain)
            assert all(len(item.features) == (len(FEATURES.columns) if explain else 0) for item in ours)


def test_an_explained_item_tells_the_price_of_the_moment(pair: tuple[Engine, Engine]) -> None:
    for item in pages(pair[0], NOW + 100, explain=True):
        assert item.features["item.price"] == item.price


@pytest.fixture(scope="module")
def market() -> tuple[FeatureState, Reader, Forest]:
    """A state of the standard features, of rooms and products of many hosts, and trees that ask for nearly all."""
    of = Market(60, 700, 90, 6_000, samples=1_500, trees=6, leaves=31)
    state, reader = state_of(of), reader_of(of)
    reader.catch_up(state, state.described())
    trained = train(of, reader, sample_rows(of, reader, state))
    return state, reader, Forest.from_model_texts(trained.models)


@pytest.mark.parametrize("n", [0, 1, 64, 513, 1_300])
def test_codes_made_of_distinct_rows_are_those_of_every_float(
    market: tuple[FeatureState, Reader, Forest], n: int
) -> None:
    state, reader, forest = market
    kept = ItemCodes(forest, reader)
    kept.catch_up(state, np.arange(len(state.items), dtype=np.int32))
    rng = np.random.default_rng(n)
    for user in (0, *rng.integers(1, len(state.users), 8).tolist()):
        # Row 0 is of an item that nobody described.
        rows = rng.integers(0, len(state.items), n).astype(np.int32)
        when, context = NOW_MS + int(rng.integers(0, 10**9)), Context("feed", "phone")
        ours = kept.coded(state, user, rows, when, context)
        floats = forest.coded(reader.rows(state, user, rows, when, context))
        np.testing.assert_array_equal(ours.table[:, :n], floats.table[:, :n])
