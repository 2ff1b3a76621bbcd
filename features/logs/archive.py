"""The archive: the Parquet part of a log, foldered by received day."""

import datetime as dt
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import DamageError, LogError
from features.logs import erase, salvage
from features.logs.erase import Erasure, scrubbing
from features.logs.guards import REPAIR
from features.logs.log import BATCH_ROWS, DAY_MS, SCHEMA, day_name, sync_folder

GROUP_ROWS = 8_192
"""Records of one row group: of a group in which a page is damaged, what lies behind that page is lost."""
REPEATED = (
    "type", "user_id", "via_item_id", "action", "value", "surface", "device", "city_tier", "position",
)  # fmt: skip
"""Columns whose values are kept once a group; those of others seldom come again in one."""


class Archive:
    """The Parquet part of a log: immutable files foldered by received day.

    A file is named by the offsets it holds and the sha256 of its content, ``first-end-digest.parquet``, so that name
    and check appear in one rename; files of before there was a digest have none, and are read unchecked.

    Parameters
    ----------
    folder : Path
        Made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[tuple[int, int, Path]]:
        """First offset, end offset and path of each file, in order.

        Raises
        ------
        LogError
            If files overlap or leave a gap; the message names the file.
        """
        found = []
        for path in self._folder.glob("day=*/*.parquet"):
            low, high, *_ = [*path.stem.split("-"), ""]
            if not (low.isdigit() and high.isdigit()):
                raise LogError(f"{path} is not named by its offsets.", "Move it out of the archive.")
            found.append((int(low), int(high), path))
        # Of a file that was written anew the last one counts; the one before may not be gone yet.
        found = list({(first, end): (first, end, path) for first, end, path in sorted(found, key=_turn)}.values())
        found.sort()
        expected = 0
        for first, end, path in found:
            if first != expected:
                raise LogError(f"{path} begins at offset {first}, not {expected}.", "Restore the missing file.")
            expected = end
        return found

    def end(self) -> int:
        """The offset after the last archived record."""
        files = self.files()
        return files[-1][1] if files else 0

    def extend(self, table: pa.Table) -> None:
        """Give records of ``UNPLACED`` the offsets that come next, and write them.

        Raises
        ------
        LogError
            If ``received_ms`` goes back within the table.
        """
        received = table["received_ms"].to_numpy()
        if (np.diff(received) < 0).any():
            way_out = "Sort them with features.logs.log.merge."
            raise LogError("Records to import are not sorted by received_ms.", way_out)
        first = self.end()
        offsets = pa.array(np.arange(first, first + len(table)))
        self.write(table.add_column(0, SCHEMA.field(0), offsets).cast(SCHEMA))

    def write(self, table: pa.Table) -> None:
        """Add records, which must continue the archive; a file appears whole or not at all.

        Parameters
        ----------
        table : pa.Table
            Of ``SCHEMA``, sorted by offset; a file is written for each received day.
        """
        days = table["received_ms"].to_numpy() // DAY_MS
        starts = np.flatnonzero(np.diff(days, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
            self._write_file(table.slice(start, stop - start))

    def _write_file(self, part: pa.Table) -> None:
        first, last = part["offset"][0].as_py(), part["offset"][-1].as_py()
        if first != self.end():
            raise LogError(f"Records from offset {first} do not continue the archive, which ends at {self.end()}.")
        folder = self._folder / day_name(part["received_ms"][0].as_py())
        folder.mkdir(parents=True, exist_ok=True)
        self._place(part, folder / f"{first:012d}-{last + 1:012d}.draft")

    def _place(self, part: pa.Table, draft: Path, turn: str = "") -> None:
        """Write a file durably, under the name that its content gives it."""
        folder = draft.parent
        try:
            pq.write_table(
                part,
                draft,
                compression="zstd",
                row_group_size=GROUP_ROWS,
                use_dictionary=list(REPEATED),
                write_page_checksum=True,
            )
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.rename(draft.with_name(f"{draft.stem}-{_digest(draft)}{turn}.parquet"))
            for changed in (folder, self._folder):
                sync_folder(changed)
        except (pa.ArrowException, OSError) as error:
            # A disk that is full must get back what was taken of it.
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise LogError(f"{draft} cannot be written: {error}.", "Mend the cause and try again.") from error

    def _place_anew(self, table: pa.Table, path: Path) -> None:
        """Write a file that counts instead of another of the same offsets."""
        first, end = _offsets(path)
        self._place(table, path.with_name(f"{first:012d}-{end:012d}.draft"), f"-{_turn((first, end, path)) + 1}")

    def damaged(self) -> Iterator[tuple[Path, DamageError]]:
        """Read all files; those that are not as they were written, and what is wrong with each.

        Raises
        ------
        LogError
            If a file cannot be read for another reason than damage: it is not one to repair.
        """
        for _, _, path in self.files():
            try:
                for _batch in _batches(path):
                    """Reading it is the check."""
            except DamageError as error:
                yield path, error

    def mend(self, path: Path, aside: Path) -> list[int]:
        """Put in a damaged file's place one of all that can be read of it, and the file as it was aside.

        Returns
        -------
        list of int
            The offsets whose records could not be read: a ``lost`` record stands there.
        """
        first, end = _offsets(path)
        kept = salvage.readable(path, first, end)
        gone = salvage.lost(kept, first, end)
        before = [at for _, stop, at in self.files() if stop == first]
        last_ms = max((_column(one, "received_ms")[-1].as_py() for one in before), default=0)
        self._place_anew(salvage.filled(kept, gone, max(last_ms, _day_ms(path))), path)
        path.rename(aside / path.name)
        for changed in (aside, path.parent):
            sync_folder(changed)
        return gone

    def lost(self) -> Iterator[int]:
        """The offsets of ``lost`` records, in order."""
        for _, _, path in self.files():
            yield from _column(path, "offset", pc.field("type") == "lost").to_pylist()

    def people(self) -> Iterator[list[str]]:
        """Whom each file names, in its own way of naming them."""
        for _, _, path in self.files():
            yield pc.unique(_column(path, "user_id")).to_pylist()

    def rewrite(self, erasures: Sequence[Erasure], hide: Callable[[list[str]], None]) -> None:
        """Write every file anew that holds records of these people; each appears whole, then the one before goes.

        Parameters
        ----------
        erasures : sequence of Erasure
        hide : callable
            Told the event ids that the next file will not hold any more.
        """
        scrub, stop = scrubbing(erasures), max((erasure.stop for erasure in erasures), default=0)
        theirs = pc.field("user_id").isin(erase.names(erasures))
        for first, _, path in self.files():
            if first >= stop or not len(_column(path, "user_id", theirs)):
                continue
            table = pa.Table.from_batches(_batches(path), SCHEMA)
            hide(erase.ids_of(table, erasures))
            left = scrub(table)
            # What an erasure that was cut short has written is not written again.
            if left is not None and not left.equals(table):
                self._place_anew(left, path)
        counted = {path for _, _, path in self.files()}
        for path in self._folder.glob("day=*/*.parquet"):
            if path not in counted:
                path.unlink()
                sync_folder(path.parent)

    def read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Batches of the records start <= offset < stop."""
        for first, end, path in self.files():
            if first >= stop or end <= start:
                continue
            # One that was listed may have been written anew since.
            there = path if path.exists() else next(now for low, _, now in self.files() if low == first)
            for batch in _batches(there):
                low, high = batch["offset"][0].as_py(), batch["offset"][-1].as_py() + 1
                if low < stop and high > start:
                    cut = max(start - low, 0)
                    yield batch.slice(cut, min(stop, high) - low - cut)

    def page(self, request_id: str) -> int | None:
        """The offset of the last page that was served under a request's name; newest files are looked at first."""
        wanted = (pc.field("type") == "served") & (pc.field("request_id") == request_id)
        for _, _, path in reversed(self.files()):
            found = _column(path, "offset", wanted)
            if len(found):
                return int(found[-1].as_py())
        return None


def _column(path: Path, name: str, where: pc.Expression | None = None) -> pa.ChunkedArray:
    """A column of a file, of the records that are wanted."""
    try:
        return pq.read_table(path, columns=[name], filters=where)[name]
    except (pa.ArrowException, OSError) as error:
        raise _fault(path, error) from error


def _offsets(path: Path) -> tuple[int, int]:
    """The first and the end offset of a file, as its name has them."""
    first, end, *_ = path.stem.split("-")
    return int(first), int(end)


def _turn(file: tuple[int, int, Path]) -> int:
    """How often an archived file was written anew: the fourth part of its name."""
    parts = file[2].stem.split("-")
    return int(parts[3]) if len(parts) > 3 else 0


def _day_ms(path: Path) -> int:
    """When the day of a file began."""
    day = dt.datetime.strptime(path.parent.name, "day=%Y-%m-%d").replace(tzinfo=dt.UTC)
    return int(day.timestamp()) * 1000


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    _, _, *expected = path.stem.split("-")
    try:
        if expected and _digest(path) != expected[0]:
            raise _damaged(path, "is not as it was written")
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise LogError(f"{path} is not of the log's schema.", "Restore it from a copy.")
            yield from file.iter_batches(batch_size=BATCH_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise _fault(path, error) from error


def _fault(path: Path, error: pa.ArrowException | OSError) -> LogError:
    """What an error in reading a file means: that it is damaged, unless the system did not let us read it."""
    if getattr(error, "errno", None) in (None, errno.EIO):
        return _damaged(path, "cannot be read", f": {error}")
    return LogError(f"{path} cannot be read: {error}.", "Mend the cause and try again.")


def _damaged(path: Path, what: str, why: str = "") -> DamageError:
    """What is wrong with a damaged file, and from where on."""
    first, end = _offsets(path)
    at = min(salvage.lost(salvage.readable(path, first, end), first, end), default=first)
    return DamageError(f"{path} {what} from offset {at} on{why}.", REPAIR, at)
