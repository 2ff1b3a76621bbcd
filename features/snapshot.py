"""Snapshots: a feature state on disk, so that a start folds the rest of the log instead of all of it.

A snapshot is a folder named by the layout's fingerprint and the offset. It appears whole or not at all, and is only
ever a shortcut: a damaged one is skipped, and without any the log is folded from its beginning.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from features.errors import HuozhaoWarning, SnapshotError
from features.fold.storage import forms, leaves
from features.ids import Ids
from features.layout import Layout
from features.logs.log import ahead, sync_folder
from features.logs.reading import LogReader
from features.state import FeatureState, Hidden
from features.types import AnyArray
from features.vocabulary import Vocabulary

FORMAT = 3
"""With the impressions of long sessions since 2, and with the first moment of items that tell none since 3; what is of
another is passed over, as it lacks what a state knows."""
PASSED_OVER = "Nothing must be done: an older one or the log takes its place. It may be removed."
KEPT = 2
"""How many snapshots of a layout stay: the newest, and one to fall back on."""


class SnapshotWarning(HuozhaoWarning):
    """A snapshot could not be used; an older one, or the log alone, takes its place."""


class OvertakenError(SnapshotError):
    """A snapshot is not wanted any more, for somebody was erased while it was taken."""


class _Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All but the arrays: vocabularies in row order, without the empty name, payloads and hides by row."""

    offset: int
    received_ms: int
    ignored: tuple[int, ...]
    spilt: int
    users: list[str]
    items: list[str]
    columns: dict[str, list[str]]
    user_columns: dict[str, list[str]]
    payloads: list[str]
    hidden: dict[int, tuple[list[int], list[int], list[int]]]


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    sha256: dict[str, str]


Renaming = Callable[[Sequence[str]], Sequence[str]]
"""From ids of people to the names that snapshots hold, or back, in order."""


def as_they_are(people: Sequence[str]) -> Sequence[str]:
    """Call nobody otherwise."""
    return people


def _always() -> bool:
    return True


def save(
    state: FeatureState, folder: Path, names: Renaming = as_they_are, *, wanted: Callable[[], bool] = _always
) -> Path:
    """Write a snapshot durably, and remove all but the newest ``KEPT`` of its layout.

    Parameters
    ----------
    state : FeatureState
        Not folded into meanwhile; the caller sees to that.
    folder : Path
        Holds the snapshots of a home; made where it is missing.
    names : callable
        What the log calls people; a snapshot holds no other name of them.
    wanted : callable
        Whether it is wanted still, asked once it is written and before it appears. ``clear`` may take it away
        meanwhile: who clears what somebody left says so first, so that nothing appears after it.

    Raises
    ------
    OvertakenError
        If it was cleared while it was written, or is not wanted any more; nothing of it is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{state.layout.fingerprint}-{state.offset:012d}"
    # Of its own name: another process may be taking one of the same offset.
    draft = Path(tempfile.mkdtemp(".draft", f"{path.name}-", folder))
    try:
        _write(state, draft, names)
        if not wanted():
            raise OvertakenError(f"{draft} holds somebody who was erased meanwhile.", "Take another.")
        # One of the same offset may be there because it is damaged.
        shutil.rmtree(path, ignore_errors=True)
        draft.rename(path)
    except FileNotFoundError as error:
        raise OvertakenError(f"{draft} was cleared while it was written.", "Take another.") from error
    except OSError as error:
        # The other was quicker: it is of the same records.
        if error.errno != errno.ENOTEMPTY:
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(folder)
    for old in _newest_first(state.layout, folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def _write(state: FeatureState, draft: Path, names: Renaming) -> None:
    """Write the files of a snapshot durably."""
    used = [array[:rows] for array, rows in zip(leaves(state.arrays), _rows(state), strict=True)]
    np.savez(draft / "arrays.npz", *used)
    (draft / "contents.json").write_bytes(msgspec.json.encode(_contents(state, names)))
    digests = {name: _digest(draft / name) for name in ("arrays.npz", "contents.json")}
    (draft / "meta.json").write_bytes(msgspec.json.encode(_Meta(FORMAT, digests)))
    for file in draft.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    sync_folder(draft)


def newest(layout: Layout, folder: Path, end: int | None = None, ids: Renaming = as_they_are) -> FeatureState | None:
    """The state of the newest snapshot that is whole, None where there is none.

    Parameters
    ----------
    layout : Layout
        Snapshots of other layouts are not looked at.
    end : int, optional
        The end of the log; a snapshot of more than the log holds is of another log.
    ids : callable
        Whom names are of.

    Warns
    -----
    SnapshotWarning
        For each snapshot that was skipped, saying why.
    """
    for path in _newest_first(layout, folder):
        try:
            state = _read(layout, path, ids)
            if end is None or state.offset <= end:
                return state
            raise SnapshotError(f"{path} holds {state.offset} records, the log {end}.", "Restore the log's end.")
        except SnapshotError as error:
            warnings.warn(f"Snapshot skipped: {error}", SnapshotWarning, stacklevel=2)
    return None


def restored(layout: Layout, log: LogReader, folder: Path) -> FeatureState:
    """The newest whole snapshot with the rest of the log folded, bit for bit the state that never stopped."""
    state = newest(layout, folder, log.end(), log.user_ids) or FeatureState(layout)
    for batch in ahead(log.read(state.offset)):
        state.fold(batch)
    return state


def clear(folder: Path) -> None:
    """Remove all snapshots: they hold somebody who is erased."""
    for path in folder.glob("*-*"):
        shutil.rmtree(path, ignore_errors=True)


def clear_beyond(folder: Path, end: int) -> None:
    """Remove snapshots of more than the log holds, and drafts that nobody finished.

    What the log has lost will be other records at the same offsets; only who writes the log may call it.

    Warns
    -----
    SnapshotWarning
        For each snapshot that was removed.
    """
    for path in sorted(folder.glob(f"*-{'[0-9]' * 12}")):
        if int(path.name[-12:]) > end:
            warnings.warn(f"Snapshot removed: {path} is beyond the log's end, {end}.", SnapshotWarning, stacklevel=2)
            shutil.rmtree(path)
    for draft in folder.glob("*.draft"):
        shutil.rmtree(draft, ignore_errors=True)


def nearest_offset(layout: Layout, folder: Path, offset: int) -> int:
    """How many records the last snapshot holds that holds none from an offset on; 0 where there is none."""
    held = (int(path.name.rpartition("-")[2]) for path in _newest_first(layout, folder))
    return next((end for end in held if end <= offset), 0)


def nearest(layout: Layout, folder: Path, offset: int, ids: Renaming = as_they_are) -> FeatureState | None:
    """The state of the last snapshot that holds no record from an offset on and is whole, None where there is none.

    Warns
    -----
    SnapshotWarning
        For each damaged snapshot that was skipped.
    """
    for path in _newest_first(layout, folder):
        if int(path.name.rpartition("-")[2]) <= offset:
            try:
                return _read(layout, path, ids)
            except SnapshotError as error:
                warnings.warn(f"Snapshot skipped: {error}", SnapshotWarning, stacklevel=2)
    return None


def _newest_first(layout: Layout, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{layout.fingerprint}-{'[0-9]' * 12}"), reverse=True)


def _rows(state: FeatureState) -> list[int]:
    """How many rows of each array are in use, in the order of ``leaves``."""
    used = state.rows()
    return [used[form.entity] for form in forms(state.layout)]


def _contents(state: FeatureState, names: Renaming) -> _Contents:
    return _Contents(
        offset=state.offset,
        received_ms=state.received_ms,
        ignored=tuple(state.ignored.tolist()),
        spilt=int(state.spilt[0]),
        users=list(names(state.users.names[1:])),
        items=state.items.names[1:],
        columns={name: vocabulary.names[1:] for name, vocabulary in state.columns.items()},
        user_columns={name: vocabulary.names[1:] for name, vocabulary in state.user_columns.items()},
        payloads=[payload.decode() for payload in state.payloads.first(len(state.items))],
        hidden={
            user: (sorted(hidden.items), sorted(hidden.authors), sorted(hidden.categories))
            for user, hidden in state.hidden.items()
        },
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(layout: Layout, path: Path, ids: Renaming) -> FeatureState:
    try:
        meta = msgspec.json.decode((path / "meta.json").read_bytes(), type=_Meta)
        if meta.format != FORMAT:
            raise SnapshotError(f"{path} is of format {meta.format}, not {FORMAT}.", PASSED_OVER)
        for name, expected in meta.sha256.items():
            if _digest(path / name) != expected:
                raise SnapshotError(f"{path / name} is not as it was written.", PASSED_OVER)
        contents = msgspec.json.decode((path / "contents.json").read_bytes(), type=_Contents)
        with np.load(path / "arrays.npz", allow_pickle=False) as file:
            arrays = [file[f"arr_{n}"] for n in range(len(file.files))]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise SnapshotError(f"{path} cannot be read: {error}.", PASSED_OVER) from error
    state = _restored(layout, contents, ids)
    _fill(state, arrays, path)
    return state


def _restored(layout: Layout, contents: _Contents, ids: Renaming) -> FeatureState:
    state = FeatureState(layout)
    state.offset, state.received_ms = contents.offset, contents.received_ms
    state.ignored[:], state.spilt[0] = contents.ignored, contents.spilt
    state.users, state.items = Ids(ids(contents.users)), Ids(contents.items)
    state.columns = {name: Vocabulary(contents.columns[name]) for name in state.columns}
    state.user_columns = {name: Vocabulary(contents.user_columns[name]) for name in state.user_columns}
    for row, payload in enumerate(contents.payloads):
        if payload:
            state.payloads[row] = payload.encode()
    state.hidden = {user: Hidden(*map(frozenset, rows)) for user, rows in contents.hidden.items()}
    return state


def _fill(state: FeatureState, arrays: list[AnyArray], path: Path) -> None:
    """Give a state the arrays of a snapshot, which must be of its layout's forms."""
    empty = leaves(state.arrays)
    forms = [(array.dtype, (rows, *array.shape[1:])) for array, rows in zip(empty, _rows(state), strict=True)]
    if [(array.dtype, array.shape) for array in arrays] != forms:
        raise SnapshotError(f"{path} holds arrays of another layout.", PASSED_OVER)
    state.adopt(arrays)
