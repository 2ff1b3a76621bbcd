"""A market of any size, made quickly: a catalog, rooms on air, what people did, and a bundle trained on rows of it.

It has the shape of the simulated world (authors, categories, clustered vectors, skewed attention) but no people: for
benchmarks of speed and memory, never of judgement.
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import snapshot
from features.factors import NAMED, TASTE_DIMS, Factors, Tastes
from features.grams import BUCKETS
from features.ids import Ids
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, SCHEMA, events_table, records_table
from features.outcomes import PRODUCT, ROOM
from features.reader import Codes, Reader
from features.records import Context, Item, Kind
from features.schema import FeatureSet
from features.standard import standard
from features.state import FeatureState
from features.types import DoubleArray, FloatArray, IntArray
from ranking.bundles.bundle import Bundle, Head, Trained, load, save
from ranking.bundles.calibration import Calibrator
from ranking.bundles.model_text import model_names
from ranking.bundles.pointer import current, promote
from ranking.value import Weights

NOW_MS = 20_000 * DAY_MS
QUIET_MS = 3_600_000
"""Nobody did anything in the last hour, so that nothing was seen lately and every candidate is scored."""
DIMS = 64
HEADS = ("complete", "like", "comment", "share", "order")
ACTIONS = np.array(["impression", "click", "watch", "like", "order"])
CHANCES = (0.7, 0.15, 0.1, 0.04, 0.01)
WORDS = tuple("新鲜好货今日特价连衣裙口红手机零食茶叶家居直播专享限时包邮")
CATEGORIES = tuple(f"category-{n}" for n in range(60))
CHUNK = 50_000
POLICY = """\
sources = ["live", "products"]
candidates = 500

[light]
keep = 1000

[weights]
order = 1.0

[surfaces.feed]
kinds = ["room", "product"]
bounds = [{ of = "author", at_most = 1, window = 4 }]
"""


@dataclass(frozen=True)
class Market:
    """How much of everything; ``samples`` are the rows that heads are trained on."""

    rooms: int
    products: int
    users: int
    events: int
    samples: int
    trees: int
    leaves: int

    @property
    def hosts(self) -> int:
        """Authors: each has about ten items."""
        return (self.rooms + self.products) // 10

    def hosts_of(self, items: IntArray) -> IntArray:
        """The authors of items, scattered by a multiplier that shares no factor with their number."""
        scattered: IntArray = items * 2_654_435_761 % (1 << 32) % self.hosts
        return scattered

    def tables(self) -> Iterator[pa.Table]:
        """The log, as tables of ``features.logs.log.UNPLACED`` in order: catalog, what people did, rooms on air."""
        rng = np.random.default_rng(0)
        begun_ms = NOW_MS - 4 * DAY_MS
        for start in range(0, self.rooms + self.products, CHUNK):
            numbers = range(start, min(start + CHUNK, self.rooms + self.products))
            yield records_table([(begun_ms, item) for item in self._items(rng, numbers, begun_ms)])
        times = np.sort(rng.integers(begun_ms, NOW_MS - QUIET_MS, self.events))
        for start in range(0, self.events, 20 * CHUNK):
            yield self._deeds(rng, start, times[start : start + 20 * CHUNK])
        for action in ("room_start", "room_pulse"):
            rooms = np.arange(self.rooms)
            late = np.full(self.rooms, NOW_MS - 60_000)
            columns = {"received_ms": late, "ts_ms": late, "item_id": names("i", rooms)}
            yield events_table(columns | {"event_id": names(action, rooms), "action": pa.repeat(action, self.rooms)})

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same log with its offsets, ready to fold."""
        end = 0
        for table in self.tables():
            offsets = pa.array(np.arange(end, end + len(table)))
            placed = table.add_column(0, SCHEMA.field(0), offsets).cast(SCHEMA)
            yield from placed.combine_chunks().to_batches()
            end += len(table)

    def _items(self, rng: np.random.Generator, numbers: range, begun_ms: int) -> Iterator[Item]:
        n = len(numbers)
        hosts = self.hosts_of(np.array(numbers)).tolist()
        words = rng.integers(0, len(WORDS), (n, 6)).tolist()
        prices = rng.integers(100, 100_000, n).tolist()
        for number, host, word, price in zip(numbers, hosts, words, prices, strict=True):
            is_room = number < self.rooms
            yield Item(
                f"i{number}",
                begun_ms,
                Kind.ROOM if is_room else Kind.PRODUCT,
                title="".join(WORDS[w] for w in word),
                author_id=f"host-{host}",
                merchant_id=f"merchant-{host % 5000}",
                brand_id=f"brand-{host % 900}",
                category=CATEGORIES[host % len(CATEGORIES)],
                price=0 if is_room else price,
                live_from_ms=begun_ms - 60_000 * (number % 10_000),
            )

    def _deeds(self, rng: np.random.Generator, start: int, times: IntArray) -> pa.Table:
        n = len(times)
        numbers = np.arange(start, start + n)
        # Everybody does something; attention goes to few items.
        items = ((self.rooms + self.products) * rng.random(n) ** 3).astype(np.int64)
        actions = rng.choice(len(ACTIONS), n, p=CHANCES)
        return events_table(
            {
                "received_ms": times,
                "ts_ms": times,
                "event_id": names("e", numbers),
                "user_id": names("u", numbers * 7919 % self.users),
                "item_id": names("i", items),
                "action": pa.array(ACTIONS[actions]),
                "value": np.where(actions == 2, rng.integers(1_000, 120_000, n), 0),
            }
        )


def names(prefix: str, numbers: IntArray) -> pa.Array:
    """Names by number, such as ``u17``."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def features() -> FeatureSet:
    """The default FeatureSet."""
    return standard({}, {})


def factors(market: Market) -> Factors:
    """Factors by which items cluster: by category, within it by author.

    Every item has a vector of its own, as after a training that knew them all: the most that memory has to hold.
    """
    rng = np.random.default_rng(1)
    numbers = np.arange(market.rooms + market.products)
    held, hosts = Ids(names("i", numbers)), tuple(names("host-", np.arange(market.hosts)).to_pylist())
    categories = rng.normal(size=(len(CATEGORIES), DIMS)).astype(np.float32)
    authors = categories[np.arange(market.hosts) % len(CATEGORIES)]
    authors = authors + 0.8 * rng.standard_normal(authors.shape, np.float32)
    items = authors[market.hosts_of(numbers)]
    items += 0.7 * rng.standard_normal(items.shape, np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    return Factors(
        item_ids=held,
        items=items,
        author_ids=hosts,
        authors=authors,
        category_ids=CATEGORIES,
        categories=categories,
        words=np.zeros((BUCKETS, DIMS), np.float32),
        tastes=tastes(rng, held, hosts),
    )


def tastes(rng: np.random.Generator, item_ids: Ids, hosts: tuple[str, ...]) -> Tastes:
    """Tastes of which every item, host and category has a vector, as after a training that was shown them all."""

    def vectors(rows: int) -> FloatArray:
        found = 0.3 * rng.standard_normal((rows, TASTE_DIMS), np.float32)
        found[:, -1] = 1.0
        return found

    known = {"author": hosts, "category": CATEGORIES}
    named = {column: known.get(column, ()) for column in NAMED}
    items, of_hosts, of_categories = vectors(len(item_ids) - 1), vectors(len(hosts)), vectors(len(CATEGORIES))
    words = np.zeros((BUCKETS, TASTE_DIMS), np.float32)
    of_items = Factors(item_ids, items, hosts, of_hosts, CATEGORIES, of_categories, words, carts=False)
    by_name = {column: vectors(len(some)) for column, some in named.items()}
    return Tastes(of_items, named, by_name, np.ones(TASTE_DIMS, np.float32))


def reader_of(market: Market) -> Reader:
    """A reader of the market's states."""
    values = {
        "item.kind": ("room", "product"),
        "item.category": CATEGORIES,
        "item.brand": tuple(f"brand-{n}" for n in range(250)),
        "item.author": tuple(f"host-{n}" for n in range(250)),
        "item.shop": (),
        "item.room_type": (),
        "context.surface": ("feed",),
    }
    feature_set = features()
    categorical = {feature_set.names[j]: () for j in feature_set.categorical}
    return Reader(feature_set, Codes(categorical | values), factors(market))


def state_of(market: Market) -> FeatureState:
    """The market's log, folded."""
    state = FeatureState(features().layout)
    for batch in market.batches():
        state.fold(batch)
    return state


def make_market(home: Path, market: Market, like: Path | None = None) -> None:
    """A home with the market's log, a bundle and a policy, made in a process of its own: it leaves no memory behind.

    The trees are those of another home where one is given: how long they take does not depend on what they learned.
    """
    maker = multiprocessing.get_context("spawn").Process(target=_make, args=(home, market, like))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise RuntimeError(f"The process that makes the market ended with {maker.exitcode}.")


def _make(home: Path, market: Market, like: Path | None) -> None:
    with HomeLog(home / "log", writer=True) as log:
        log.import_tables(market.tables())
        state = FeatureState(features().layout)
        for batch in log.read():
            state.fold(batch)
        snapshot.save(state, home / "state", log.names)
    reader = reader_of(market)
    if like:
        bundle = replace(load(current(like / "bundles")), codes=reader.codes, factors=reader.factors)
    else:
        reader.catch_up(state, state.described())
        bundle = train(market, reader, sample_rows(market, reader, state))
    promote(home / "bundles", save(bundle, home / "bundles", {}).name)
    (home / "policy.toml").write_text(POLICY, "utf-8")


def sample_rows(market: Market, reader: Reader, state: FeatureState) -> FloatArray:
    """Feature rows (samples, d) of random people and items, twenty a person."""
    rng = np.random.default_rng(2)
    each, most = 20, market.rooms + market.products
    people = rng.integers(1, len(state.users), market.samples // each).tolist()
    parts = []
    for user in people:
        rows = np.concatenate([rng.integers(1, market.rooms + 1, each // 2), rng.integers(1, most + 1, each // 2)])
        now_ms = NOW_MS - int(rng.integers(0, DAY_MS))
        parts.append(reader.rows(state, user, rows.astype(np.int32), now_ms, Context("feed")))
    return np.concatenate(parts)


def train(market: Market, reader: Reader, rows: FloatArray) -> Bundle:
    """Five heads of all their trees on one grid, from labels that depend on many columns at once."""
    rng = np.random.default_rng(3)
    feature_set, filled = reader.feature_set, np.nan_to_num(rows.astype(np.float64))
    ranks = filled.argsort(0).argsort(0) / len(rows) - 0.5
    options = {"objective": "binary", "num_leaves": market.leaves, "max_bin": 250, "learning_rate": 0.05, "seed": 0}
    options |= {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 10, "bin_construct_sample_cnt": len(rows)}
    grid = lgb.Dataset(
        rows,
        np.zeros(len(rows)),
        params=options,
        feature_name=model_names(feature_set),
        categorical_feature=list(feature_set.categorical),
        free_raw_data=False,
    ).construct()
    models, heads = {}, {}
    for head in HEADS:
        weights = rng.normal(size=(2, rows.shape[1]))
        margins = ranks @ weights[0] + 3 * (ranks @ weights[1]) * ranks[:, 0] - 1.0
        y = rng.random(len(rows)) < 1 / (1 + np.exp(-margins))
        models[head] = lgb.train(options, grid.set_label(y.astype(np.float32)), market.trees).model_to_string()
        heads[head] = _head(float(y.mean()))
    until = Trained(NOW_MS - 4 * DAY_MS, NOW_MS, 0, 0)
    bins = ((),) * rows.shape[1]
    return Bundle(feature_set, reader.codes, reader.factors, bins, models, heads, Weights(), until)


def _head(rate: float) -> Head:
    knots: DoubleArray = np.linspace(-4, 4, 33)
    calibrator = Calibrator(rate, tuple(knots.tolist()), tuple((1 / (1 + np.exp(-knots))).tolist()))
    return Head(DAY_MS, (0.0, rate, rate, 0.0), {ROOM: calibrator, PRODUCT: calibrator})
