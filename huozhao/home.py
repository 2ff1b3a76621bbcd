"""A home: the folder of one data set, with its log, its state, its policy and its bundles."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

import features
from features.errors import LogError, TrainingError
from features.logs.live import HomeLog
from huozhao.stages import patiently
from ranking.engine import Engine
from ranking.policy import DEFAULT_TOML

OPENING = "opening the home: loading, folding the log"


def refuse_full(home: Path) -> None:
    """Refuse a home that holds a log already: two data sets in one log would be one world.

    Raises
    ------
    LogError
    """
    if home.exists() and not home.is_dir():
        raise LogError(f"{home} is a file.", "Name a folder with --home.")
    if (home / "log").exists():
        raise LogError(f"{home} holds a log already.", "Name another home with --home: one home, one data set.")


def fill(home: Path, tables: Iterable[pa.Table], policy: str = DEFAULT_TOML) -> int:
    """Make a home of a log given in bulk, whole or not at all; returns how many records it holds.

    Parameters
    ----------
    tables : iterable of pa.Table
        Of ``features.logs.log.UNPLACED``, sorted by received_ms within and between tables.
    policy : str
        What policy.toml says, unless there is one.
    """
    refuse_full(home)
    was_there = home.exists()
    home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".log-", dir=home))
    try:
        with HomeLog(draft, writer=True) as log:
            records = log.import_tables(tables)
        draft.chmod(0o755)
        # Another process may have filled it meanwhile.
        refuse_full(home)
        draft.rename(home / "log")
    except BaseException:
        shutil.rmtree(draft)
        if not was_there:
            # What is not empty by now is another's.
            with suppress(OSError):
                home.rmdir()
        raise
    if not (home / "policy.toml").exists():
        (home / "policy.toml").write_text(policy, "utf-8")
    return records


@contextmanager
def open_log(home: Path) -> Iterator[HomeLog]:
    """The log of a home, to read; what of it cannot be trained on or judged by is said with the home's name.

    Raises
    ------
    LogError, TrainingError
    """
    refuse_missing(home)
    with HomeLog(home / "log", writer=False) as log:
        try:
            yield log
        except TrainingError as error:
            raise TrainingError(f"{home}: {error.what}", error.way_out) from error


def open_reader(home: Path) -> Engine:
    """The engine of a home, to read; what takes long is told."""
    refuse_missing(home)
    with patiently(opening()):
        return Engine.open(home, writer=False)


def opening() -> str:
    """What it is told as that a home is opened: where no kernel is kept yet they are compiled, which takes longest."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(features.__file__).parent / "fold")
    kept = any(folder.rglob("counters.fold-*.nbi"))
    return OPENING if kept else f"{OPENING}; kernels are compiled first, this once, for some minutes"


def refuse_missing(home: Path) -> None:
    """Refuse a folder that holds no log.

    Raises
    ------
    LogError
    """
    if not (home / "log").is_dir():
        way_out = (
            "Make one with `huozhao simulate` or `huozhao import`, try `huozhao demo`, or name another with --home."
        )
        raise LogError(f"{home} is not a home: it holds no log.", way_out)
