"""The registry: which bundles there are, which one is served, and since when and why each one was.

``promotions.jsonl`` beside the bundles is only ever appended to. A promotion is written down before the pointer turns,
so that none goes without its reason.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from features.errors import BundleError
from features.logs.log import sync_folder
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.pointer import current, fault_of, turn
from ranking.bundles.versions import versions_of
from training.gate import Check, Verdict

FILE = "promotions.jsonl"
How = Literal["gate", "forced", "by hand", "rollback"]


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file: what was made current, in place of what, when, and by which reason.

    ``checks`` are the gate's figures, empty where it was not asked.
    """

    version: str
    previous: str
    at_ms: int
    how: How
    reason: str
    checks: tuple[Check, ...] = ()


class Listed(msgspec.Struct, frozen=True):
    """A bundle of a folder: itself or what is wrong with it, and its last promotion."""

    version: str
    bundle: Bundle | None
    fault: str
    current: bool
    promotion: Promotion | None


def current_version(bundles: Path) -> str:
    """The version that is served, "" where none was promoted yet; the last promoted where the pointer is damaged."""
    if not (bundles / "current.json").exists():
        return ""
    try:
        return current(bundles).name
    except BundleError:
        entries = promotions(bundles)
        return entries[-1].version if entries else ""


def promotions(bundles: Path) -> tuple[Promotion, ...]:
    """All promotions in their order.

    A last line that was cut off while it was written is passed over: its pointer never turned.

    Raises
    ------
    BundleError
        If another line cannot be read.
    """
    try:
        lines = (bundles / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return ()
    found = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            raw = msgspec.json.decode(line, type=dict[str, Any])
            checks = [Check.read(check) for check in raw.get("checks", ())]
            found.append(msgspec.convert(raw | {"checks": checks}, Promotion))
        except (msgspec.MsgspecError, AttributeError, TypeError) as error:
            what = f"Line {number} of {bundles / FILE} cannot be read: {error}."
            raise BundleError(what, "Restore the file.") from error
    return tuple(found)


def promote(
    bundles: Path,
    version: str,
    now_ms: int,
    *,
    how: How,
    reason: str,
    verdict: Verdict | None = None,
) -> Promotion:
    """Make a bundle the current one and write down why. It is verified first; a damaged one changes nothing."""
    load(bundles / version)
    entry = Promotion(version, current_version(bundles), now_ms, how, reason, verdict.checks if verdict else ())
    _append(bundles / FILE, msgspec.json.encode(entry) + b"\n")
    turn(bundles, version)
    return entry


def admit(bundles: Path, verdict: Verdict, now_ms: int, force: str = "") -> Promotion | None:
    """Make a bundle that was trained the current one if the gate or ``force``, a reason, lets it; None where not.

    Every training goes through here: one that is current already stays so without another line.
    """
    is_current = verdict.version == current_version(bundles) and not fault_of(bundles)
    if is_current or not (verdict.passed or force):
        return None
    forced = not verdict.passed
    said = f"{force} (the gate: {verdict.reason})" if forced else verdict.reason
    how: How = "forced" if forced else "gate"
    return promote(bundles, verdict.version, now_ms, how=how, reason=said, verdict=verdict)


def rollback(bundles: Path, now_ms: int, reason: str) -> Promotion:
    """Make the bundle current that was so before the current one; again, the one before that.

    Raises
    ------
    BundleError
        If none is known to have been.
    """
    now = current_version(bundles)
    before = served_before(promotions(bundles), now)
    if not before:
        what = f"No bundle is known to have been served before {now or 'now'}."
        raise BundleError(what, "Name one with `huozhao promote VERSION`.")
    return promote(bundles, before, now_ms, how="rollback", reason=reason or f"back from {now}")


def served_before(entries: Sequence[Promotion], now: str) -> str:
    """Which version was served before ``now``: rollbacks undo promotions, and are not promotions themselves."""
    stack: list[str] = []
    for entry in entries:
        if entry.how == "rollback":
            while stack and stack[-1] != entry.version:
                stack.pop()
        else:
            if not stack and entry.previous:
                stack.append(entry.previous)
            stack.append(entry.version)
    while stack and stack[-1] == now:
        stack.pop()
    return stack[-1] if stack else ""


def models(bundles: Path) -> list[Listed]:
    """Every bundle of a folder, the oldest training first; a damaged one with its fault."""
    now, last = (
        "" if fault_of(bundles) else current_version(bundles),
        {entry.version: entry for entry in promotions(bundles)},
    )
    found = []
    for version in versions_of(bundles):
        bundle, fault = None, ""
        try:
            bundle = load(bundles / version)
        except BundleError as error:
            fault = str(error)
        found.append(Listed(version, bundle, fault, version == now, last.get(version)))
    return sorted(found, key=lambda one: one.bundle.trained.until_ms if one.bundle else -1)


def _append(path: Path, line: bytes) -> None:
    """Add a line so that it survives a power cut; a torn last line is cut off first."""
    with path.open("ab") as file:
        whole = path.read_bytes()
        if whole and not whole.endswith(b"\n"):
            file.truncate(whole.rfind(b"\n") + 1)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
