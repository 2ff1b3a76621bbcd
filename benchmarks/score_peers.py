"""What else scores the trees of LightGBM: peers that are installed, one thread, as their makers would have them used.

``onnxruntime`` has two graphs of the same trees: ``float``, as its converters write it, which adds leaves in float32,
and ``double``, which is slower and right to 1e-6. They are built here from what LightGBM says of its trees: converters
know no raw scores of a model that was trained to tell probabilities.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from features.types import DoubleArray, FloatArray

Scores = Callable[[], DoubleArray]


def peers(boosters: Sequence[lgb.Booster], rows: FloatArray, folder: Path) -> dict[str, Scores]:
    """Raw scores (n, heads) of rows by every peer that is there; of the others it is said why they are left out."""
    found: dict[str, Scores] = {}
    for name, build in (("tl2cgen", _tl2cgen), ("onnxruntime", _onnxruntime)):
        try:
            found |= build(boosters, rows, folder)
        except ImportError as missing:
            print(f"score: {name} is left out: {missing}")
    return found


def _tl2cgen(boosters: Sequence[lgb.Booster], rows: FloatArray, folder: Path) -> dict[str, Scores]:
    """Each head as C code with integer thresholds, compiled by gcc."""
    import tl2cgen
    import treelite

    if shutil.which("gcc") is None:
        raise ImportError("no gcc")
    batch, heads = tl2cgen.DMatrix(rows), []
    for head, booster in enumerate(boosters):
        (folder / "model.txt").write_text(booster.model_to_string())
        model, library = treelite.frontend.load_lightgbm_model(folder / "model.txt"), folder / f"head{head}.so"
        tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"quantize": 1, "parallel_comp": 8})
        heads.append(tl2cgen.Predictor(library, nthread=1))
    return {"tl2cgen": lambda: np.column_stack([one.predict(batch, pred_margin=True).ravel() for one in heads])}


def _onnxruntime(boosters: Sequence[lgb.Booster], rows: FloatArray, _: Path) -> dict[str, Scores]:
    """A graph for each head, in floats and in doubles."""
    import onnxruntime
    from onnx import TensorProto

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def scores(kind: int, x: FloatArray | DoubleArray) -> Scores:
        models = [_graph(booster, kind, x.shape[1]).SerializeToString() for booster in boosters]
        heads = [onnxruntime.InferenceSession(one, options, providers=["CPUExecutionProvider"]) for one in models]
        return lambda: np.column_stack([head.run(None, {"x": x})[0].ravel() for head in heads]).astype(np.float64)

    return {
        "onnxruntime, float": scores(TensorProto.FLOAT, rows),
        "onnxruntime, double": scores(TensorProto.DOUBLE, rows.astype(np.float64)),
    }


def _graph(booster: lgb.Booster, kind: int, columns: int) -> Any:  # noqa: ANN401  # onnx has no types
    """A model of one operator whose numbers are of a kind of onnx."""
    from onnx import TensorProto, helper

    nodes, leaves = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    for tree, one in enumerate(booster.dump_model()["tree_info"]):
        for node, feature, cut, low, high, leaf in _nodes(one["tree_structure"]):
            nodes.append((tree, node, feature, cut, low, high, "LEAF" if low == node else "BRANCH_LEQ"))
            if low == node:
                leaves.append((tree, node, leaf))
    trees, ids, features, cuts, lows, highs, modes = map(list, zip(*nodes, strict=True))
    of_tree, of_node, weights = map(list, zip(*leaves, strict=True))
    operator = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=trees,
        nodes_nodeids=ids,
        nodes_featureids=features,
        nodes_modes=modes,
        nodes_values_as_tensor=helper.make_tensor("cuts", kind, [len(cuts)], cuts),
        nodes_truenodeids=lows,
        nodes_falsenodeids=highs,
        target_treeids=of_tree,
        target_nodeids=of_node,
        target_ids=[0] * len(leaves),
        target_weights_as_tensor=helper.make_tensor("weights", kind, [len(weights)], weights),
    )
    x = helper.make_tensor_value_info("x", kind, [None, columns])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([operator], "trees", [x], [y]), opset_imports=opsets, ir_version=8)


def _nodes(root: dict[str, Any]) -> Iterator[tuple[int, int, float, int, int, float]]:
    """Number, feature, cut, both children (its own number for a leaf) and value of each node, parents first."""
    waiting, numbered = [(0, root)], 1
    while waiting:
        number, node = waiting.pop()
        if "leaf_value" in node:
            yield number, 0, 0.0, number, number, node["leaf_value"]
            continue
        low, high = numbered, numbered + 1
        numbered += 2
        yield number, node["split_feature"], _below(node["threshold"]), low, high, 0.0
        waiting += [(low, node["left_child"]), (high, node["right_child"])]


def _below(cut: float) -> float:
    """The greatest float32 that is not above a cut: of float32 values both let the same ones pass."""
    near = np.float32(cut)
    return float(near if near <= cut else np.nextafter(near, np.float32(-np.inf)))
