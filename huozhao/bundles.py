"""Bundles from the command line: made, judged, reported, listed, promoted and rolled back."""

import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from features.errors import BundleError, RequestError, TrainingError
from huozhao import home as homes
from huozhao import show, show_bundles
from huozhao.stages import Stages, patiently
from huozhao.times import iso, optional_ms, wall_ms
from huozhao.tracking import Tracker
from huozhao.weighing import weighed_as
from ranking.bundles.attached import attach, read_attached
from ranking.bundles.bundle import FORMAT, load
from ranking.bundles.pointer import WAY_OUT, current, fault_of
from ranking.bundles.versions import find
from ranking.bundles.versions import migrate as migrated
from ranking.policy import load as load_policy
from ranking.value import Weights
from serving.promotion import followed
from serving.shadow import kept as agreement_of
from training import registry
from training.baselines.systems import AT_TRAINING, BASELINES
from training.declared import read_features, read_objective
from training.judging.compare import compare
from training.learning.drift import REFERENCE
from training.learning.grower import Growth
from training.learning.pipeline import Learned, learn
from training.learning.recipe import Recipe
from training.publish import REPORT, Published, findings_of, publish, report_of, told_of, verdict_of
from training.reports.findings import Findings
from training.served import Held, served


def train(
    home: Path,
    *,
    since: str | None,
    until: str | None,
    seed: int,
    features: Path | None,
    objective: Path | None,
    seeds: int,
    negatives: float,
    warm: bool,
    force: str,
    with_report: bool,
    mlflow: str,
) -> None:
    """Train a bundle, judge it, and make it the current one if the gate or the person lets it."""
    since_ms, until_ms = optional_ms("--since", since), optional_ms("--until", until)
    feature_set = read_features(features) if features else None
    weights = read_objective(objective) if objective else Weights()
    homes.refuse_missing(home)
    begun = load(current(home / "bundles")) if warm else None
    recipe = Recipe(since_ms, until_ms, seed, feature_set, weights, Growth(seeds, negatives), begun)
    tracker = Tracker(mlflow) if mlflow else None
    with homes.open_log(home) as log, Stages() as stages:
        learned = learn(log, recipe, progress=stages)
        made = publish(
            log,
            learned,
            home / "bundles",
            now_ms=wall_ms(),
            timer=time.perf_counter,
            force=force,
            report=with_report,
            progress=stages,
        )
    fault = tracker.log(recipe, learned, made) if tracker else ""
    try:
        _say_what_became_of(learned, made, home)
    except TrainingError as error:
        raise TrainingError(f"{error.what} {fault}".strip(), error.way_out) from error
    if fault:
        raise RequestError(fault, "Training and promotion are done, as said above; nothing has to be trained anew.")


def _say_what_became_of(learned: Learned, made: Published, home: Path) -> None:
    """What was trained, and whether it is served; a bundle that is held back is an error, so that a script stops."""
    version = learned.bundle.version
    show.console().print(show.trained_table(learned))
    if made.findings is not None:
        print(f"Report: {made.place / REPORT}")
    for line in weighed_as(home, learned.bundle):
        print(line)
    if made.promotion is None and made.verdict.against != version:
        what = f"Bundle {version} is kept, not promoted: {made.verdict.reason.rstrip('.')}."
        way_out = (
            f"{made.verdict.against} is still served. Promote it with --force REASON, or `huozhao promote --reason`."
        )
        raise TrainingError(what, way_out)
    why = f" ({made.promotion.reason})" if made.promotion else ", as before"
    print(f"Bundle {version} is current in {home}{why}.")


def report(home: Path, name: str, *, again: bool, baselines: bool, show_it: bool) -> None:
    """Say where a bundle's report is, made anew if there is none."""
    homes.refuse_missing(home)
    bundles = home / "bundles"
    version = find(bundles, name)
    if again or baselines or read_attached(bundles / version, REPORT) is None:
        with homes.open_log(home) as log, Stages() as stages:
            beside = BASELINES if baselines else AT_TRAINING
            policy = load_policy(home / "policy.toml") if baselines else None
            found = report_of(log, bundles, version, baselines=beside, policy=policy, progress=stages)
        if found.unjudged:
            print(f"Nothing was judged: {found.unjudged}.")
    path = (bundles / version / REPORT).absolute()
    print(path)
    if show_it and not webbrowser.open(path.as_uri()):
        raise RequestError("There is no browser to show it.", f"Open {path} yourself.")


def list_all(home: Path, *, check: bool) -> None:
    """List all bundles, and warn where the current one's calibration drifts as served."""
    homes.refuse_missing(home)
    found = registry.models(home / "bundles")
    figures, faults = _figures(home, found)
    console = show.console()
    console.print(show_bundles.models_table(found, figures, faults))
    follows = followed(home)
    if follows is not None:
        console.print(Text(show_bundles.followed_view(follows), "dim"))
    held = _served(home, found, figures) if check else ()
    for one in held:
        if one.drifted:
            console.print(Text(show_bundles.alarm(one), "red"))
    if held and not any(one.drifted for one in held):
        console.print(Text(f"Calibration as served holds for {', '.join(one.head for one in held)}.", "dim"))

    said = [*faults.values()]
    if fault := fault_of(home / "bundles"):
        said.append(f"No bundle is current: {fault} {WAY_OUT}")
    if said:
        raise BundleError(" ".join(said))


def _figures(home: Path, found: Sequence[registry.Listed]) -> tuple[dict[str, Findings | None], dict[str, str]]:
    """What was found of each bundle, and what is wrong with those that are not whole, by version."""
    figures: dict[str, Findings | None] = {}
    faults = {one.version: f"Bundle {one.version} is damaged: {one.fault}" for one in found if one.bundle is None}
    for one in found:
        figures[one.version] = None
        try:
            figures[one.version] = findings_of(home / "bundles" / one.version) if one.bundle else None
        except BundleError as error:
            faults[one.version] = f"Damaged beside bundle {one.version}: {error}"
    return figures, faults


def _served(home: Path, found: list[registry.Listed], figures: dict[str, Findings | None]) -> tuple[Held, ...]:
    now = next((one for one in found if one.current), None)
    if now is None or now.bundle is None or now.promotion is None:
        return ()
    with homes.open_log(home) as log, patiently("reading what was served"):
        findings = figures[now.version]
        return served(log, now.bundle, now.promotion.at_ms, findings, home / "state", lambda _done, _of: None)


def show_one(home: Path, name: str) -> None:
    """Show a bundle, its figures and its promotions."""
    homes.refuse_missing(home)
    bundles = home / "bundles"
    version = find(bundles, name)
    entries = [entry for entry in registry.promotions(bundles) if entry.version == version]
    found = findings_of(bundles / version)
    is_current = registry.current_version(bundles) == version
    bundle = load(bundles / version)
    said = weighed_as(home, bundle)
    show.console().print(show_bundles.model_view(bundle, found, entries, said, is_current=is_current))
    beside = agreement_of(home)
    if beside is not None and beside.bundle == version:
        show.console().print(show_bundles.agreement_view(beside))


def diff(home: Path, before: str, after: str) -> None:
    """Compare two bundles."""
    homes.refuse_missing(home)
    bundles = home / "bundles"
    places = [bundles / find(bundles, name) for name in (before, after)]
    rows = [found.rows if (found := findings_of(place)) else () for place in places]
    show.console().print(show_bundles.changes_view(compare(load(places[0]), load(places[1]), *rows)))


def promote(home: Path, name: str, *, reason: str) -> None:
    """Make a bundle the current one, if the gate lets it or a reason is given."""
    homes.refuse_missing(home)
    bundles = home / "bundles"
    version = find(bundles, name)
    fault = fault_of(bundles)
    if fault:
        # Nothing is current that a gate could hold it against.
        _told(home, registry.promote(bundles, version, wall_ms(), how="by hand", reason=reason or fault))
        return
    if registry.current_version(bundles) == version:
        print(f"Bundle {version} is current in {home} already.")
        return
    if reason:
        verdict = told_of(bundles, version)
    else:
        with homes.open_log(home) as log, Stages() as stages:
            verdict = verdict_of(log, bundles, version, timer=time.perf_counter, progress=stages)
    if verdict is None or (reason and verdict.passed):
        _told(home, registry.promote(bundles, version, wall_ms(), how="by hand", reason=reason, verdict=verdict))
        return
    entry = registry.admit(bundles, verdict, wall_ms(), force=reason)
    if entry is None:
        what = f"Bundle {version} is not promoted: {verdict.reason.rstrip('.')}."
        raise TrainingError(what, "Give --reason WHY to promote it all the same; it is kept.")
    _told(home, entry)


def rollback(home: Path, *, reason: str) -> None:
    """Make the bundle current that was so before."""
    homes.refuse_missing(home)
    _told(home, registry.rollback(home / "bundles", wall_ms(), reason))


def migrate(home: Path, name: str) -> None:
    """Write a bundle of an earlier format in today's."""
    homes.refuse_missing(home)
    bundles = home / "bundles"
    version = find(bundles, name)
    made = migrated(bundles, version)
    if made.name == version:
        print(f"Bundle {version} is of format {FORMAT} already.")
        return
    reference = read_attached(bundles / version, REFERENCE)
    attach(made, {REFERENCE: reference} if reference else {})
    print(f"Bundle {version} is {made.name} in format {FORMAT}. Serve it with `huozhao promote {made.name}`.")


def _told(home: Path, entry: registry.Promotion) -> None:
    instead = f", in place of {entry.previous}" if entry.previous else ""
    print(f"Bundle {entry.version} is current in {home} since {iso(entry.at_ms)}{instead}.")
