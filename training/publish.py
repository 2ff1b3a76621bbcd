"""From what was learned to what is served: write it, judge it, report it, and promote it if the gate lets it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.errors import BundleError, TrainingError
from features.log import EventLog
from ranking.attached import attach, read_attached
from ranking.bundle import Bundle, load, read_manifest
from training.bootstrap import Bootstrap
from training.compare import compare
from training.drift import REFERENCE, Reference
from training.evaluate import evaluate
from training.findings import Findings, find, from_json, to_json
from training.gate import Verdict, judge, unjudged
from training.pipeline import Learned, keep
from training.progress import Progress, quiet, staged
from training.registry import How, Promotion, current_version, promote, promotions, served_before
from training.report import page
from training.stretch import Read, Stretch

METRICS, REPORT = "metrics.json", "report.html"


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
    """
    place, bundle, against = keep(learned, bundles), learned.bundle, current_version(bundles)
    read, why = _read(log, bundle, progress)
    verdict = _verdict(log, bundles, against, bundle, read, why, timer, progress)
    findings = None
    if report:
        findings = _found(log, place, bundle, read, why, against, learned.dropped, progress)
        findings = msgspec.structs.replace(findings, verdict=verdict)
        write(place, findings, bundle)
    promotion = None
    if against != bundle.version and (verdict.passed or force):
        forced = not verdict.passed
        said = f"{force} (the gate: {verdict.reason})" if forced else verdict.reason
        how: How = "forced" if forced else "gate"
        promotion = promote(bundles, bundle.version, now_ms, how=how, reason=said, verdict=verdict)
    return Published(place, verdict, findings, promotion)


def report_of(log: EventLog, bundles: Path, version: str, progress: Progress = quiet) -> Findings:
    """Judge a bundle of a folder on what came after its training, and write its report anew."""
    place = bundles / version
    bundle = load(place)
    before = _findings(place)
    entries = promotions(bundles)
    at = next(
        (entry.previous for entry in reversed(entries) if entry.version == version and entry.how != "rollback"), ""
    )
    read, why = _read(log, bundle, progress)
    against = at or served_before(entries, version)
    found = _found(log, place, bundle, read, why, against, before.dropped if before else {}, progress)
    found = msgspec.structs.replace(found, verdict=before.verdict if before else None)
    write(place, found, bundle)
    return found


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


def _read(log: EventLog, bundle: Bundle, progress: Progress) -> tuple[Read | None, str]:
    """What came after the training as the bundle reads it; or why there is nothing."""
    progress("reading what came after", 0, 0)
    try:
        stretch = Stretch.read(log, bundle.trained.until_ms)
    except TrainingError:
        return None, "the log holds no page that began after the training ended"
    return Read.of(bundle, stretch, staged(progress, "reading what came after")), ""


def _verdict(
    log: EventLog,
    bundles: Path,
    against: str,
    bundle: Bundle,
    read: Read | None,
    why: str,
    timer: Callable[[], float],
    progress: Progress,
) -> Verdict:
    if against in ("", bundle.version):
        return Verdict(bundle.version, against)
    try:
        old = load(bundles / against)
    except BundleError as error:
        return unjudged(bundle, against, f"the current bundle cannot be read: {error}")
    stage = staged(progress, "reading as the current bundle")
    if read is not None and old.trained.until_ms > bundle.trained.until_ms:
        # What the current bundle learned from judges neither.
        try:
            stretch = Stretch.read(log, old.trained.until_ms)
        except TrainingError:
            return unjudged(bundle, against, f"the current bundle {against} has learned from all that could judge both")
        read = Read.of(bundle, stretch, stage)
    if read is None:
        return unjudged(bundle, against, why)
    return judge(read, Read.of(old, read.stretch, stage), timer, Bootstrap(seed=bundle.trained.seed))


def _found(
    log: EventLog,
    place: Path,
    bundle: Bundle,
    read: Read | None,
    why: str,
    against: str,
    dropped: dict[str, str],
    progress: Progress,
) -> Findings:
    rows = evaluate(log, bundle, baselines=True, progress=progress) if read is not None else []
    reference = read_attached(place, REFERENCE)
    progress("writing the report", 0, 0)
    found = find(
        bundle,
        read_manifest(place).packages,
        read,
        rows=rows,
        reference=msgspec.json.decode(reference, type=Reference) if reference else None,
        dropped=dropped,
        unjudged=why,
    )
    other = place.parent / against
    if not against or against == bundle.version or not (other / "manifest.json").exists():
        return found
    before = _findings(other)
    changes = compare(load(other), bundle, before.rows if before else (), rows)
    return msgspec.structs.replace(found, changes=changes)
