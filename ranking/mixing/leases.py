"""Budgets of boosts, spent from durable leases: what is not written down cannot be spent.

A lease of so many impressions is on the disk before the first of them is spent, and what is left of it at the end is
given back. A crash forfeits the rest of the lease; nothing is ever spent twice. The file only grows: it is the account.
"""

import os
import threading
from pathlib import Path

import msgspec

from features.errors import LogError
from features.logs.log import sync_folder
from ranking.policy.boosts import Boost

LEASES = 100
"""A lease is a hundredth of the budget, so that a crash forfeits no more..."""
MOST = 1000
"""...nor more impressions than this."""


class Lease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file: so many impressions of a boost were set aside, or below 0 given back."""

    boost: str
    impressions: int
    at_ms: int


class Ledger:
    """The account of all boosts of a home; safe to call from many threads.

    Parameters
    ----------
    path : Path
        The file of leases; made with the first.
    writer : bool
        Whether boosts are spent. A reader is shown what would be lifted and spends nothing.

    Raises
    ------
    LogError
        If the file is not as it was written.
    """

    def __init__(self, path: Path, *, writer: bool) -> None:
        self.fault = ""
        self._path = path
        self._writer = writer
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        self._leased: dict[str, int] = {}
        for lease in leases(path):
            self._leased[lease.boost] = self._leased.get(lease.boost, 0) + lease.impressions

    def take(self, boost: Boost, wanted: int, now_ms: int) -> int:
        """Set impressions aside: as many as wanted, or as the budget has left, as it is now.

        What a larger budget leased and nobody spent is no reason to spend more than a smaller one allows. Where the
        lease cannot be written nothing is lifted, and ``fault`` says why.
        """
        with self._lock:
            leased, left = self._leased.get(boost.name, 0), self._left.get(boost.name, 0)
            wanted = min(wanted, max(boost.budget - (leased - left), 0))
            if not self._writer:
                return wanted
            if wanted > left:
                usual = min(max(boost.budget // LEASES, 1), MOST)
                self._lease(boost.name, min(max(wanted - left, usual), boost.budget - leased), now_ms)
            taken = min(wanted, self._left.get(boost.name, 0))
            self._left[boost.name] = self._left.get(boost.name, 0) - taken
            return taken

    def give_back(self, name: str, impressions: int) -> None:
        """Return what was set aside and not spent."""
        with self._lock:
            if self._writer and impressions:
                self._left[name] += impressions

    def leased(self, name: str) -> int:
        """How many impressions of a boost are spent, set aside or forfeited."""
        with self._lock:
            return self._leased.get(name, 0)

    def close(self, now_ms: int) -> None:
        """Give back what is left of the leases."""
        with self._lock:
            for name, left in self._left.items():
                if left:
                    self._left[name] = 0
                    self._lease(name, -left, now_ms)
            self._left.clear()

    def _lease(self, name: str, impressions: int, now_ms: int) -> None:
        try:
            self._write(msgspec.json.encode(Lease(name, impressions, now_ms)) + b"\n")
        except OSError as error:
            # Whether it is on the disk is not known: it is taken for spent, and not spent.
            self.fault = f"{self._path}: {error.strerror}"
            self._leased[name] = self._leased.get(name, 0) + max(impressions, 0)
            return
        self._leased[name] = self._leased.get(name, 0) + impressions
        self._left[name] = self._left.get(name, 0) + max(impressions, 0)

    def _write(self, line: bytes) -> None:
        new = not self._path.exists()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A line that a crash cut off was never spent from.
        torn = not new and self._path.stat().st_size and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("ab") as file:
            file.write(b"\n" + line if torn else line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self._path.parent)


def leases(path: Path) -> list[Lease]:
    """All leases that were written down; a line that a crash cut off is none.

    Raises
    ------
    LogError
        If a line is not as it was written.
    """
    if not path.exists():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(whole, 1):
        try:
            found.append(msgspec.json.decode(line, type=Lease))
        except msgspec.DecodeError as error:
            if not line.startswith(b"{") or line.endswith(b"}"):
                raise LogError(f"{path}, line {number}: {error}.", "Restore it from a copy.") from error
    return found
