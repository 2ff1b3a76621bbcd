"""A home: the folder of one data set, with its log, its state, its policy and its bundles."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from features.errors import LogError
from features.live import HomeLog
from ranking.engine import Engine
from ranking.policy import DEFAULT_TOML


def refuse_full(home: Path) -> None:
    """Refuse a home that holds a log already: two data sets in one log would be one world.

    Raises
    ------
    LogError
    """
    if (home / "log").exists():
        raise LogError(f"{home} holds a log already.", "Name another home with --home: one home, one data set.")


def fill(home: Path, tables: Iterable[pa.Table]) -> int:
    """Make a home of a log given in bulk, whole or not at all; returns how many records it holds.

    Parameters
    ----------
    tables : iterable of pa.Table
        Of ``features.log.UNPLACED``, sorted by received_ms within and between tables.
    """
    refuse_full(home)
    home.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".log-", dir=home))
    try:
        with HomeLog(draft, writer=True) as log:
            records = log.import_tables(tables)
        draft.chmod(0o755)
        draft.rename(home / "log")
    except BaseException:
        shutil.rmtree(draft)
        raise
    policy = home / "policy.toml"
    if not policy.exists():
        policy.write_text(DEFAULT_TOML, "utf-8")
    return records


def open_log(home: Path) -> HomeLog:
    """The log of a home, to read."""
    _refuse_missing(home)
    return HomeLog(home / "log", writer=False)


def open_reader(home: Path) -> Engine:
    """The engine of a home, to read."""
    _refuse_missing(home)
    return Engine.open(home, writer=False)


def _refuse_missing(home: Path) -> None:
    if not (home / "log").is_dir():
        way_out = "Make one with `huozhao import` or `huozhao simulate`, or name another with --home."
        raise LogError(f"{home} is not a home: it holds no log.", way_out)
