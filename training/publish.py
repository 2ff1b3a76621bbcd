"""From what was learned to what is served: write it, judge it, report it, and promote it if the gate lets it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.errors import BundleError, TrainingError
from features.logs.log import EventLog
from ranking.bundles.attached import attach, read_attached
from ranking.bundles.bundle import Bundle, load, read_manifest
from ranking.policy import Policy
from training.baselines.lambdamart import LISTWISE, fit_listwise, listwise
from training.baselines.systems import AT_TRAINING
from training.gate import Verdict, judge, unjudged
from training.judging.bootstrap import Bootstrap
from training.judging.compare import compare
from training.judging.evaluate import beside, evaluate_read
from training.judging.figures import Row
from training.judging.retrieval import evaluate_retrieval
from training.judging.stretch import Read, Stretch
from training.learning.drift import REFERENCE, Reference
from training.learning.pipeline import Learned, keep
from training.progress import Progress, quiet, staged
from training.registry import Promotion, admit, current_version, promotions, served_before
from training.reports.findings import Findings, find, from_json, to_json
from training.reports.report import page

METRICS, REPORT = "metrics.json", "report.html"
PREVIOUS = "previous"
"""The bundle before, as a system of the report."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a bundle: where it is, what was found of it, and its promotion, None where it was held back."""

    place: Path
    verdict: Verdict
    findings: Findings | None
    promotion: Promotion | None


def publish(
    log: EventLog,
    learned: Learned,
    bundles: Path,
    *,
    now_ms: int,
    timer: Callable[[], float],
    force: str = "",
    report: bool = True,
    baselines: Collection[str] = AT_TRAINING,
    progress: Progress = quiet,
) -> Published:
    """Write what was learned, judge it on what came after, and make it current if it is not worse than what is.

    Parameters
    ----------
    log : EventLog
        The one it was learned from.
    bundles : Path
        The folder of bundles.
    now_ms : int
        When a promotion happens.
    timer : callable
        Seconds from any origin, as ``time.perf_counter``: how long each bundle's forest takes.
    force : str
        Why it is promoted whatever the gate says; kept in the file of promotions.
    report : bool
        Write ``report.html`` and ``metrics.json`` beside it.
    baselines : collection of str
        What the report judges beside it, of ``baselines.BASELINES``; the bundle before is always there.
    """
    place, bundle, against = keep(learned, bundles), learned.bundle, current_version(bundles)
    asked = report or against not in ("", bundle.version)
    read, why = _read(log, bundle, baselines if report else (), progress) if asked else (None, "")
    entries = promotions(bundles)
    # The current bundle, trained again, has the one before it beside it still.
    old = _before(entries, bundle.version) if against == bundle.version else against
    theirs = _read_before(bundles, old, bundle, read, progress)
    verdict = _verdict(log, bundles, against, bundle, read, theirs, why, timer, progress)
    findings = None
    if report:
        told = told_again(place, entries) if against == bundle.version else verdict
        progress("fitting LambdaMART", 0, 1)
        attach(place, {LISTWISE: fit_listwise(bundle, learned.table, learned.slate).encode()})
        rows = _rows(place, read, theirs, baselines, progress)
        findings = _found(place, bundle, read, why, rows, old, learned.dropped)
        findings = msgspec.structs.replace(findings, verdict=told)
        write(place, findings, bundle)
    return Published(place, verdict, findings, admit(bundles, verdict, now_ms, force))


def report_of(
    log: EventLog,
    bundles: Path,
    version: str,
    *,
    baselines: Collection[str] = AT_TRAINING,
    policy: Policy | None = None,
    progress: Progress = quiet,
) -> Findings:
    """Judge a bundle of a folder on what came after its training, and write its report anew.

    With a policy, its sources are judged as well.
    """
    place = bundles / version
    bundle = load(place)
    before = _findings(place)
    read, why = _read(log, bundle, baselines, progress)
    against = _before(promotions(bundles), version)
    theirs = _read_before(bundles, against, bundle, read, progress)
    rows = _rows(place, read, theirs, baselines, progress)
    found = _found(place, bundle, read, why, rows, against, before.dropped if before else {})
    sources = _retrieved(log, bundle, policy, progress) if read and policy else ()
    found = msgspec.structs.replace(found, verdict=before.verdict if before else None, retrieval=sources)
    write(place, found, bundle)
    return found


def verdict_of(
    log: EventLog, bundles: Path, version: str, *, timer: Callable[[], float], progress: Progress = quiet
) -> Verdict:
    """What the gate says of a bundle beside the current one: what it said already, or judged now."""
    against = current_version(bundles)
    told = told_of(bundles, version)
    if told is not None:
        return told
    bundle = load(bundles / version)
    read, why = _read(log, bundle, (), progress)
    theirs = _read_before(bundles, against, bundle, read, progress)
    return _verdict(log, bundles, against, bundle, read, theirs, why, timer, progress)


def told_of(bundles: Path, version: str) -> Verdict | None:
    """What the gate said of a bundle when it was trained; None where it was held against another than is current."""
    found = _findings(bundles / version)
    verdict = found.verdict if found else None
    return verdict if verdict is not None and verdict.against == current_version(bundles) else None


def _before(entries: Sequence[Promotion], version: str) -> str:
    """The bundle in whose place one was promoted, "" where none was."""
    of = (entry.previous for entry in reversed(entries) if entry.version == version and entry.how != "rollback")
    return next(of, "") or served_before(entries, version)


def told_again(place: Path, entries: Sequence[Promotion]) -> Verdict | None:
    """What the gate said of a bundle that was promoted: as its figures have it, or else its promotion."""
    found = _findings(place)
    if found is not None and found.verdict is not None and found.verdict.against != place.name:
        return found.verdict
    by_gate = (entry for entry in reversed(entries) if entry.version == place.name and entry.how in ("gate", "forced"))
    entry = next(by_gate, None)
    return Verdict(entry.version, entry.previous, checks=entry.checks) if entry else None


def _retrieved(log: EventLog, bundle: Bundle, policy: Policy, progress: Progress) -> tuple[Row, ...]:
    """What the policy's sources find; nothing where nobody wanted anything in the stretch."""
    try:
        return tuple(evaluate_retrieval(log, bundle, policy, progress=progress))
    except TrainingError:
        return ()


def write(place: Path, findings: Findings, bundle: Bundle) -> None:
    """Put the report and the figures beside a bundle."""
    html = page(findings, bundle.feature_set.utc_offset_ms)
    attach(place, {METRICS: to_json(findings), REPORT: html})


def findings_of(place: Path) -> Findings | None:
    """What was found of a bundle, None where nothing was written down.

    Raises
    ------
    BundleError
        If what was written cannot be read.
    """
    text = read_attached(place, METRICS)
    return from_json(text, str(place)) if text is not None else None


def _findings(place: Path) -> Findings | None:
    """``findings_of``; None for what cannot be read, since it is about to be written anew."""
    try:
        return findings_of(place)
    except BundleError:
        return None


def _read(log: EventLog, bundle: Bundle, baselines: Collection[str], progress: Progress) -> tuple[Read | None, str]:
    """What came after the training as the bundle and the baselines read it; or why there is nothing."""
    progress("reading what came after", 0, 0)
    try:
        stretch = Stretch.read(log, bundle.trained.until_ms)
    except TrainingError:
        return None, "the log holds no page that began after the training ended"
    told = staged(progress, "reading what came after")
    return Read.of(bundle, stretch, told, beside=beside(bundle, baselines)), ""


def _read_before(bundles: Path, against: str, bundle: Bundle, read: Read | None, progress: Progress) -> Read | None:
    """The same stretch as the bundle before reads it, None where it cannot be read or has learned from a part."""
    old = _bundle_before(bundles, against, bundle)
    if read is None or old is None or old.trained.until_ms > read.stretch.since_ms:
        return None
    return Read.of(old, read.stretch, staged(progress, "reading as the bundle before"))


def _verdict(
    log: EventLog,
    bundles: Path,
    against: str,
    bundle: Bundle,
    read: Read | None,
    theirs: Read | None,
    why: str,
    timer: Callable[[], float],
    progress: Progress,
) -> Verdict:
    if against in ("", bundle.version):
        return Verdict(bundle.version, against)
    if read is None:
        return unjudged(bundle, against, why)
    if theirs is None:
        # It cannot be read, or what it learned from judges neither.
        try:
            old = load(bundles / against)
        except BundleError as error:
            return unjudged(bundle, against, f"the current bundle cannot be read: {error}")
        try:
            stretch = Stretch.read(log, old.trained.until_ms)
        except TrainingError:
            return unjudged(bundle, against, f"the current bundle {against} has learned from all that could judge both")
        read, theirs = (Read.of(each, stretch, staged(progress, "reading for the gate")) for each in (bundle, old))
    return judge(read, theirs, timer, Bootstrap(seed=bundle.trained.seed))


def _found(
    place: Path,
    bundle: Bundle,
    read: Read | None,
    why: str,
    rows: Sequence[Row],
    against: str,
    dropped: dict[str, str],
) -> Findings:
    reference = read_attached(place, REFERENCE)
    found = find(
        bundle,
        read_manifest(place).packages,
        read,
        rows=rows,
        reference=msgspec.json.decode(reference, type=Reference) if reference else None,
        dropped=dropped,
        unjudged=why,
    )
    old = _bundle_before(place.parent, against, bundle)
    if old is None:
        return found
    before = _findings(place.parent / against)
    changes = compare(old, bundle, before.rows if before else (), rows)
    return msgspec.structs.replace(found, changes=changes)


def _rows(
    place: Path, read: Read | None, theirs: Read | None, baselines: Collection[str], progress: Progress
) -> list[Row]:
    if read is None:
        return []
    bundle = read.bundle
    others = {PREVIOUS: theirs.scores(tuple(bundle.heads))} if theirs else {}
    text = _listwise(place)
    if text is not None and "lambdamart" not in baselines:
        others["lambdamart"] = listwise(text.decode(), bundle, read.features)
    rows = evaluate_read(read, baselines=baselines, others=others, progress=progress)
    progress("writing the report", 0, 0)
    return without(rows, PREVIOUS, {*bundle.heads} - {*theirs.bundle.heads}) if theirs else rows


def without(rows: Sequence[Row], system: str, heads: Collection[str]) -> list[Row]:
    """The rows less those of heads that a system does not have, and of how far ours is above it in them."""
    against = f"_diff_vs_{system}"
    return [row for row in rows if row.head not in heads or (row.system != system and against not in row.metric)]


def _listwise(place: Path) -> bytes | None:
    """LambdaMART as it was kept at training; None where it was not, or not as it was written."""
    try:
        return read_attached(place, LISTWISE)
    except BundleError:
        return None


def _bundle_before(bundles: Path, against: str, bundle: Bundle) -> Bundle | None:
    """The bundle that this one is held against, None where there is none that can be read."""
    if against in ("", bundle.version):
        return None
    try:
        return load(bundles / against)
    except BundleError:
        return None
