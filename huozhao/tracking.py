"""A training as a run in MLflow: parameters, figures, and the report as an artifact. Needs the extra ``mlflow``."""

import os
from pathlib import Path

from features.errors import RequestError
from training.judging.figures import OURS
from training.learning.pipeline import Learned
from training.publish import METRICS, REPORT, Published

EXPERIMENT = "huozhao"


class Tracker:
    """What logs runs to a URI: of a server, or a folder as ``file:DIR``.

    Raises
    ------
    RequestError
        If MLflow is not installed; before anything is trained.
    """

    def __init__(self, uri: str) -> None:
        try:
            import mlflow
        except ImportError as error:
            what = "MLflow is not installed, so no run can be logged."
            raise RequestError(what, "Install it with pip install 'huozhao[mlflow]', or leave --mlflow out.") from error
        # Newer releases ask to be told that a folder is meant; whoever names one means it.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._mlflow = mlflow
        self._mlflow.set_tracking_uri(uri)

    def log(self, learned: Learned, made: Published) -> None:
        """Log one training as one run, named by its version."""
        mlflow, bundle = self._mlflow, learned.bundle
        trained = bundle.trained
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_name=bundle.version):
            mlflow.log_params(
                {
                    "version": bundle.version,
                    "since_ms": trained.since_ms,
                    "until_ms": trained.until_ms,
                    "seed": trained.seed,
                    "columns": len(bundle.feature_set.columns),
                    "heads": ",".join(bundle.heads),
                    "promoted": made.promotion is not None,
                }
            )
            mlflow.log_metrics(_figures(made))
            for name in (METRICS, REPORT):
                if made.findings is not None:
                    mlflow.log_artifact(str(Path(made.place) / name))


def _figures(made: Published) -> dict[str, float]:
    """Our figures over all impressions, as ``gauc.complete``."""
    rows = made.findings.rows if made.findings else ()
    whole = [row for row in rows if row.system == OURS and row.kind == row.slice == "all"]
    return {f"{row.metric}.{row.head}": row.value for row in whole if row.value == row.value}
