"""A training as a run in MLflow: parameters, figures, and the report as an artifact. Needs the extra ``mlflow``."""

import os
from pathlib import Path

import msgspec

from features.errors import RequestError
from training.judging.figures import OURS
from training.learning.pipeline import Learned
from training.learning.recipe import Recipe
from training.publish import METRICS, REPORT, Published

EXPERIMENT = "huozhao"
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Unless the environment says otherwise: by itself it would wait for minutes for a server that is away."""


class Tracker:
    """What logs runs to a URI: of a server, or a folder as ``file:DIR``.

    Raises
    ------
    RequestError
        If MLflow is not installed, or nothing answers at the URI; before anything is trained.
    """

    def __init__(self, uri: str) -> None:
        try:
            import mlflow
        except ImportError as error:
            what = "MLflow is not installed, so no run can be logged."
            raise RequestError(what, "Install it with pip install 'huozhao[mlflow]', or leave --mlflow out.") from error
        # Newer releases ask to be told that a folder is meant; whoever names one means it.
        for name, value in {"MLFLOW_ALLOW_FILE_STORE": "true", **PATIENCE}.items():
            os.environ.setdefault(name, value)
        self._mlflow, self._uri = mlflow, uri
        self._faults = (mlflow.exceptions.MlflowException, OSError)
        try:
            mlflow.set_tracking_uri(uri)
            mlflow.set_experiment(EXPERIMENT)
        except self._faults as error:
            what = f"MLflow at {uri} cannot be written to: {_first_line(error)}."
            raise RequestError(what, "Nothing was trained. Start it, name another, or leave --mlflow out.") from error

    def log(self, recipe: Recipe, learned: Learned, made: Published) -> str:
        """Log one training as one run, named by its version; why that failed, "" where it did not."""
        try:
            self._log(recipe, learned, made)
        except self._faults as error:
            return f"The run was not logged to MLflow at {self._uri}: {_first_line(error)}."
        return ""

    def _log(self, recipe: Recipe, learned: Learned, made: Published) -> None:
        mlflow = self._mlflow
        with mlflow.start_run(run_name=learned.bundle.version):
            mlflow.log_params(_parameters(recipe, learned, made))
            mlflow.log_metrics(_figures(made))
            mlflow.log_artifact(str(made.place / "features.json"))
            for name in (METRICS, REPORT):
                if made.findings is not None:
                    mlflow.log_artifact(str(Path(made.place) / name))


def _parameters(recipe: Recipe, learned: Learned, made: Published) -> dict[str, object]:
    """What was asked for, and what came of it; ``features`` tells other columns, codes or factors apart."""
    bundle = learned.bundle
    trained = bundle.trained
    weights = {f"weight.{head}": weight for head, weight in msgspec.structs.asdict(bundle.weights).items()}
    return weights | {
        "version": bundle.version,
        "since_ms": trained.since_ms,
        "until_ms": trained.until_ms,
        "seed": trained.seed,
        "seeds": recipe.growth.seeds,
        "negatives": recipe.growth.negatives,
        "warm": recipe.warm.version if recipe.warm else "",
        "features": bundle.fingerprint,
        "columns": len(bundle.feature_set.columns),
        "heads": ",".join(bundle.heads),
        "promoted": made.promotion is not None,
    }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _figures(made: Published) -> dict[str, float]:
    """Our figures over all impressions, as ``gauc.complete``."""
    rows = made.findings.rows if made.findings else ()
    whole = [row for row in rows if row.system == OURS and row.kind == row.slice == "all"]
    return {f"{row.metric}.{row.head}": row.value for row in whole if row.value == row.value}
