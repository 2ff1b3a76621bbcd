"""The scorer beside LightGBM's own predict, on the same trees and rows, one thread each."""

import lightgbm as lgb
import numpy as np

from benchmarks.report import Report, interleaved, quantiles
from ranking.trees import Forest

HEADS, LEAVES, ROWS, COLUMNS = 4, 63, 1000, 64


def run(*, quick: bool) -> Report:
    """1,000 rows x 4 heads x 300 trees x 63 leaves (60 trees when quick), float32 in, binning included."""
    report = Report("score")
    trees = 60 if quick else 300
    boosters = _boosters(trees)
    rows = np.random.default_rng(1).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    forest = Forest.from_model_texts({f"head{i}": booster.model_to_string() for i, booster in enumerate(boosters)})

    def theirs() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        wide = rows.astype(np.float64)
        return np.column_stack([np.asarray(b.predict(wide, raw_score=True, num_threads=1)) for b in boosters])

    difference = float(np.abs(forest.raw(rows) - theirs()).max())
    if difference != 0:
        report.faults.append(f"scores differ from LightGBM's by up to {difference}")
    ours_ms, theirs_ms = interleaved([lambda: forest.raw(rows), theirs], 10 if quick else 40)
    size = f"{ROWS} rows x {HEADS} heads x {trees} trees x {LEAVES} leaves"
    report.rows += [
        {"system": "huozhao", "size": size, "max_difference": difference, **quantiles(ours_ms)},
        {"system": "lightgbm", "size": size, "max_difference": 0.0, **quantiles(theirs_ms)},
    ]
    report.ratios["score.vs_lightgbm"] = float(np.median(theirs_ms) / np.median(ours_ms))
    return report


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
