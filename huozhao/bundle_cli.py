"""The commands that make bundles, show them and choose which one is served; ``bundles`` does what they say."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from huozhao.options import Flag, Home, Seed, home_of

models = App(name="models", help="List bundles, show one, or compare two.")


def train(
    *,
    home: Home = None,
    since: str | None = None,
    until: str | None = None,
    seed: Seed = 0,
    features: Path | None = None,
    objective: Path | None = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1, lte=20))] = 1,
    negatives: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 1.0,
    warm: Flag = False,
    force: str = "",
    report: bool = True,
    mlflow: Annotated[str | None, Parameter(env_var="HUOZHAO_MLFLOW", show_env_var=False)] = None,
) -> None:
    """Train a bundle on the log, judge it on what came after, and make it the current one if it is not worse.

    Parameters
    ----------
    home
        The home whose log is read and whose bundle is made.
    since
        Learn from impressions received from then on; the first, if not given.
    until
        Use nothing received from then on; the last day's midnight, if not given.
    seed
        The same log and seed give the same bundle.
    features
        A TOML or JSON file with the columns to learn from; all that the catalog has, if not given.
    objective
        A TOML or JSON file with what the value weighs heads with, as like = 3.0; the default weights, if not given.
        They are served unless policy.toml has [weights].
    seeds
        So many models of every column are grown a head and averaged.
    negatives
        Learn from this share of the negatives, each of which counts as many times more; 0.1 is usual for a long log.
    warm
        Go on from the current bundle: keep its columns and trees, and grow more from what came after its training.
    force
        Make it current whatever the gate says, and keep this reason in the file of promotions.
    report
        Write report.html and metrics.json beside it.
    mlflow
        Also log parameters, figures and the report to MLflow at this URI, $HUOZHAO_MLFLOW if not given: a server's,
        or file:DIR for a folder.
    """
    from huozhao import bundles

    bundles.train(
        home_of(home),
        since=since,
        until=until,
        seed=seed,
        features=features,
        objective=objective,
        seeds=seeds,
        negatives=negatives,
        warm=warm,
        force=force,
        with_report=report,
        mlflow=mlflow or "",
    )


def report(
    bundle: str = "current",
    /,
    *,
    home: Home = None,
    again: Flag = False,
    baselines: Flag = False,
    open: Flag = False,  # noqa: A002
) -> None:
    """Say where a bundle's report is, and make it if it has none.

    Parameters
    ----------
    bundle
        The version, or as many of its first digits as no other has.
    home
        The home whose bundle it is.
    again
        Judge it anew on all that came after its training.
    baselines
        Judge it anew beside everything that evaluate --baselines knows, which takes a minute or two.
    open
        Show it in the browser.
    """
    from huozhao import bundles

    bundles.report(home_of(home), bundle, again=again, baselines=baselines, show_it=open)


@models.default
def list_all(*, home: Home = None, check: bool = True) -> None:
    """List all bundles: figures, which is current, since when and why; warn where its served calibration drifts.

    Parameters
    ----------
    home
        The home whose bundles are listed.
    check
        Compare what the current bundle predicted since its promotion with what happened.
    """
    from huozhao import bundles

    bundles.list_all(home_of(home), check=check)


@models.command
def show(bundle: str = "current", /, *, home: Home = None) -> None:
    """Show a bundle: what it learned from, its heads, and every promotion of it.

    Parameters
    ----------
    bundle
        The version, or as many of its first digits as no other has.
    home
        The home whose bundle it is.
    """
    from huozhao import bundles

    bundles.show_one(home_of(home), bundle)


@models.command
def diff(before: str, after: str = "current", /, *, home: Home = None) -> None:
    """Compare two bundles: heads, columns, weights and figures.

    Parameters
    ----------
    before
        A version, or as many of its first digits as no other has.
    after
        The other one.
    home
        The home whose bundles they are.
    """
    from huozhao import bundles

    bundles.diff(home_of(home), before, after)


def promote(bundle: str, /, *, home: Home = None, reason: str = "") -> None:
    """Make a bundle the current one, if it is not worse than that is; a server takes it up within seconds.

    Parameters
    ----------
    bundle
        The version, or as many of its first digits as no other has.
    home
        The home whose bundle it is.
    reason
        Make it current whatever the gate says, at once, and keep this reason in the file of promotions.
    """
    from huozhao import bundles

    bundles.promote(home_of(home), bundle, reason=reason)


def rollback(*, home: Home = None, reason: str = "") -> None:
    """Make the bundle current that was so before.

    Parameters
    ----------
    home
        The home whose bundles they are.
    reason
        Kept in the file of promotions.
    """
    from huozhao import bundles

    bundles.rollback(home_of(home), reason=reason)


def migrate(bundle: str = "current", /, *, home: Home = None) -> None:
    """Write a bundle of an earlier format in today's, beside itself; it is not promoted.

    Parameters
    ----------
    bundle
        The version, or as many of its first digits as no other has.
    home
        The home whose bundle it is.
    """
    from huozhao import bundles

    bundles.migrate(home_of(home), bundle)


def evaluate(
    *,
    home: Home = None,
    since: str | None = None,
    until: str | None = None,
    baselines: Flag = False,
    rolling: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    retrieval: Flag = False,
    json: Path | None = None,
) -> None:
    """Judge the current bundle on impressions that came after its training, beside baselines, with intervals.

    Parameters
    ----------
    home
        The home whose log and bundle are judged.
    since
        Judge impressions received from then on; the end of the training, if not given.
    until
        Judge impressions received before; the log's end, if not given.
    baselines
        Put chance, popularity, item-kNN, iALS, a factorisation machine, LightGBM on static features, LambdaMART and
        others beside ours, look into slices, and judge calibration and watch time.
    rolling
        Judge training itself on so many last days: each by a bundle that learned from the days before it, pooled,
        beside baselines. Needs no bundle and keeps none; --since and --until are not for it. Days that are judged are
        kept in the home's `rolling` folder: a run that was stopped goes on from them.
    retrieval
        Judge what the policy's sources find of what people turned out to want, beside popularity, item-kNN, iALS and
        EASE.
    json
        Also write every figure to this file.
    """
    from huozhao import commands

    commands.evaluate(
        home_of(home),
        since=since,
        until=until,
        baselines=baselines,
        rolling=rolling,
        retrieval=retrieval,
        json=json,
    )


def replay(
    file: Path, /, *, home: Home = None, since: str | None = None, until: str | None = None, seed: Seed = 0
) -> None:
    """Turn the log into a training table: what was known at every impression's moment, and what became of it.

    Categories are texts. An outcome is null while its whole window is open, also where `train` cuts windows to fit a
    short log.

    Parameters
    ----------
    file
        The Parquet file to write.
    home
        The home whose log is read.
    since
        Leave out impressions received before.
    until
        Use nothing received from then on.
    seed
        Of the factors.
    """
    from huozhao import commands

    commands.replay(home_of(home), file, since=since, until=until, seed=seed)
