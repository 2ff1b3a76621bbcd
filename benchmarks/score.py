"""The scorer beside LightGBM's own predict and what else scores the same trees, on the same rows, one thread each."""

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm as lgb
import numpy as np

from benchmarks.report import Report, Row, interleaved, quantiles
from features.types import DoubleArray, FloatArray
from ranking.trees import Forest

HEADS, LEAVES, ROWS, COLUMNS = 4, 63, 1000, 64
ITEM, CONSTANT = np.arange(24), np.arange(24, 44)
"""Columns as served: the item's, kept as codes; then the person's and the moment's; the rest varies by candidate."""
CATALOG = 1_000_000
CLOSE = 1e-6

Scores = Callable[[], DoubleArray]


def run(*, quick: bool) -> Report:
    """1,000 rows x 4 heads x 300 trees x 63 leaves (60 trees when quick), float32 in, binning included.

    As served, codes of 24 columns are gathered by random row of a million, 20 columns are one value for all rows, and
    20 vary and are binned. Peers that are further than 1e-6 from LightGBM are shown but do not count.
    """
    report = Report("score")
    trees = 60 if quick else 300
    boosters = _boosters(trees)
    texts = {f"head{i}": booster.model_to_string() for i, booster in enumerate(boosters)}
    forest = Forest.from_model_texts(texts)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    served, as_served = _as_served(forest, rows, rng, 100_000 if quick else CATALOG)

    def lightgbm_of(x: FloatArray) -> Scores:
        wide = x.astype(np.float64)
        return lambda: np.column_stack([np.asarray(b.predict(wide, raw_score=True, num_threads=1)) for b in boosters])

    with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as folder:
        halves = [np.ascontiguousarray(rows[: ROWS // 2]), np.ascontiguousarray(rows[ROWS // 2 :])]
        runs: dict[str, Scores] = {
            "huozhao": lambda: forest.raw(rows),
            "lightgbm": lightgbm_of(rows),
            "huozhao, as served": as_served,
            "lightgbm, as served": lightgbm_of(served),
            "huozhao, two threads": lambda: np.concatenate(list(pool.map(forest.raw, halves))),
            **_peers(texts, rows, Path(folder)),
        }
        took = dict(zip(runs, interleaved([*runs.values()], 10 if quick else 40), strict=True))
        _report(report, runs, took, f"{ROWS} rows x {HEADS} heads x {trees} trees x {LEAVES} leaves")
    return report


def _report(report: Report, runs: dict[str, Scores], took: dict[str, list[float]], size: str) -> None:
    middle = {name: float(np.median(times)) for name, times in took.items()}
    exact = dict[str, float]()
    for name, score in runs.items():
        right = runs["lightgbm, as served" if name.endswith("as served") else "lightgbm"]()
        apart = float(np.abs(score() - right).max())
        threads = 2 if name.endswith("two threads") else 1
        row: Row = {"system": name, "size": size, "threads": threads, "max_difference": apart}
        report.rows.append(row | quantiles(took[name]))
        if name.startswith("huozhao") and apart != 0:
            report.faults.append(f"{name}: scores differ from LightGBM's by up to {apart}")
        if not name.startswith(("huozhao", "lightgbm")) and apart <= CLOSE:
            exact[name] = middle[name]
    report.ratios["score.vs_lightgbm"] = middle["lightgbm"] / middle["huozhao"]
    report.ratios["score.as_served_vs_lightgbm"] = middle["lightgbm, as served"] / middle["huozhao, as served"]
    report.ratios["score.two_threads_vs_one"] = middle["huozhao"] / middle["huozhao, two threads"]
    if exact:
        report.ratios["score.vs_best_peer"] = min(exact.values()) / middle["huozhao"]


def _as_served(forest: Forest, rows: FloatArray, rng: np.random.Generator, items: int) -> tuple[FloatArray, Scores]:
    """The rows of a request as floats, and what scores them from the codes of a catalog and what moves."""
    catalog = rng.normal(size=(items, len(ITEM))).astype(np.float32)
    columns = forest.columns_of(ITEM.tolist())
    kept = np.empty((items, len(columns)), np.uint8)
    for start in range(0, items, 50_000):
        some = np.zeros((len(catalog[start : start + 50_000]), COLUMNS), np.float32)
        some[:, ITEM] = catalog[start : start + 50_000]
        kept[start : start + 50_000] = forest.coded(some).columns(columns)
    chosen = rng.integers(0, items, ROWS).astype(np.int32)
    served = rows.copy()
    served[:, ITEM], served[:, CONSTANT] = catalog[chosen], rows[0, CONSTANT]
    moving = np.asfortranarray(served)
    moving[:, ITEM] = np.nan
    return served, lambda: forest.score(forest.coded(moving, columns, kept, chosen))


def _peers(texts: dict[str, str], rows: FloatArray, folder: Path) -> dict[str, Scores]:
    """Each head as C code by tl2cgen with integer thresholds, compiled by gcc; nothing where either is missing."""
    try:
        import tl2cgen
        import treelite
    except ImportError as missing:
        print(f"score: tl2cgen is left out: {missing}")
        return {}
    if shutil.which("gcc") is None:
        print("score: tl2cgen is left out: no gcc")
        return {}
    batch, heads = tl2cgen.DMatrix(rows), []
    for head, text in texts.items():
        (folder / "model.txt").write_text(text)
        model, library = treelite.frontend.load_lightgbm_model(folder / "model.txt"), folder / f"{head}.so"
        tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"quantize": 1, "parallel_comp": 8})
        heads.append(tl2cgen.Predictor(library, nthread=1))
    return {"tl2cgen": lambda: np.column_stack([one.predict(batch, pred_margin=True).ravel() for one in heads])}


def _boosters(trees: int) -> list[lgb.Booster]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, COLUMNS)).astype(np.float32)
    options = {"objective": "binary", "num_leaves": LEAVES, "max_bin": 254, "verbose": -1, "num_threads": 2, "seed": 0}
    grid = lgb.Dataset(x, params={"bin_construct_sample_cnt": len(x), "max_bin": 254, "verbose": -1})
    boosters = []
    for head in range(HEADS):
        y = x[:, head] * x[:, head + 4] + x[:, 8:16].sum(1) * 0.3 + rng.normal(size=len(x)) > 0.5
        boosters.append(lgb.train(options, lgb.Dataset(x, y.astype(int), reference=grid), trees))
    return boosters
