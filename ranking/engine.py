"""The engine: one home, opened. Records go in, pages come out, each as of one moment.

One writer appends to the log, then folds and indexes under the mutex, then acknowledges. A request holds the mutex
while it finds candidates and reads their rows, scores outside it, and takes it once more for the last check.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import msgspec
import pyarrow as pa

from features import snapshot
from features.errors import RequestError
from features.fold.storage import give_back
from features.logs.live import HomeLog
from features.logs.rows import Durability
from features.records import Item, Record, Served
from ranking.agreement import Agreement
from ranking.api import Ack, Alive, AliveRequest, Feed, FeedItem, FeedRequest, RankRequest, Status
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.pointer import current
from ranking.bundles.ranker import bundled
from ranking.mixing.leases import Ledger
from ranking.policy import Policy
from ranking.policy import load as load_policy
from ranking.request import lookups
from ranking.request.answers import Answers, Beside, Shared
from ranking.request.generation import Generation
from ranking.request.journal import Journal
from ranking.request.ladder import Budget
from ranking.request.sample import SHARE
from ranking.succession.handover import Succession
from ranking.succession.successor import Maker, MakeRanker


class Engine:
    """A home, opened: its log, its state and what it is served with. Safe to call from many threads.

    Made by ``Engine.open``; close it when done, or use it as a context manager. ``policy_fault`` is what is wrong with
    a policy that was written since, as status tells it; whoever watches sets it.
    """

    def __init__(
        self, home: Path, log: HomeLog, generation: Generation, maker: Maker, *, writer: bool, share: float = SHARE
    ) -> None:
        self.home = home
        self._log = log
        self._shared = Shared(generation)
        self._ledger = Ledger(home / "boosts" / "leases.jsonl", writer=writer)
        self._journal = Journal(log, home / "state", self._fold)
        self._answers = Answers(self._shared, self._ledger, self._journal if writer else None, share)
        self._succession = Succession(self._shared, self._answers, self._journal, self._ledger, maker)
        self._is_writer = writer
        self.policy_fault = ""
        self._agreement: Callable[[], Agreement | None] = lambda: None

    @property
    def generation(self) -> Generation:
        """What answers now, for those who measure it while nobody appends."""
        return self._shared.generation

    @property
    def mutex(self) -> AbstractContextManager[object]:
        """What guards it; another that keeps who waits may be put in its place before anyone asks."""
        return self._shared.mutex

    @mutex.setter
    def mutex(self, mutex: AbstractContextManager[object]) -> None:
        self._shared.mutex = mutex

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        writer: bool = True,
        ranker: MakeRanker = bundled,
        durability: Durability = "full",
        decisions: float = SHARE,
    ) -> Self:
        """Open a home: the newest snapshot, the rest of the log folded, the current bundle.

        Parameters
        ----------
        home : Path
        writer : bool
            Whether this engine appends to the log; one at a time may. A reader sees the log as it is now.
        ranker : callable
            Makes what scores; by default the bundle's own. To compare systems over the same stages.
        durability : {"full", "relaxed"}
            Whether an append waits until the disk holds it.
        decisions : float
            Of how many pages the decision is kept; of those asked for with ``explain`` it always is.

        Raises
        ------
        BundleError, LogError, PolicyError
            If the home has no bundle yet, is held by another writer, or holds a damaged part.
        """
        bundle = load(current(home / "bundles"))
        policy = load_policy(home / "policy.toml")
        log = HomeLog(home / "log", writer=writer, durability=durability)
        try:
            if writer:
                snapshot.clear_beyond(home / "state", log.end())
            if log.has_scrubbed:
                snapshot.clear(home / "state")
            maker = Maker(home, log, ranker, keeps=writer)
            generation = maker.anew(bundle, policy)
            # What a snapshot was decoded from lay between what is kept of it.
            give_back()
            return cls(home, log, generation, maker, writer=writer, share=decisions)
        except BaseException:
            log.close()
            raise

    @property
    def bundles(self) -> Path:
        """The folder of the home's bundles."""
        return self.home / "bundles"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Sequence[Record], received_ms: int) -> tuple[Ack, ...]:
        """Keep records, fold them, and index what they change, before returning.

        Parameters
        ----------
        records : sequence of Record
        received_ms : int
            Now; what runs more than five minutes ahead of it is rejected.

        Returns
        -------
        tuple of Ack
            One a record: a bad record is rejected by name and the rest is kept.

        Raises
        ------
        RequestError
            If it is a reader.
        LogError
            If the clock is behind the log, or the records could not be kept.
        """
        if not self._is_writer:
            raise RequestError("This engine was opened as a reader.", "Open it with writer=True to append.")
        return self._journal.append(records, received_ms)

    def _fold(self, batch: pa.RecordBatch, pages: Sequence[Served]) -> None:
        with self.mutex:
            self.generation.fold(batch)
            self._journal.waiting.remove(pages)

    def feed(self, request: FeedRequest, now_ms: int, request_id: str, budget: Budget | None = None) -> Feed:
        """A page for a person who asked for nothing.

        Parameters
        ----------
        request : FeedRequest
        now_ms : int
            The moment that ages and counters are read at, and rooms must be alive at.
        request_id : str
            Names the page in the log.
        budget : Budget, optional
            What time is left. Where it is too little the page is a lesser one, by the rungs of
            ``ranking.request.ladder``, and says so; legal rules hold on every rung.

        Raises
        ------
        RequestError
            If the request is not as its type says, or names a surface that the policy does not declare.
        """
        return self._answers.feed(request, now_ms, request_id, budget or Budget())

    def rank(self, request: RankRequest, now_ms: int, request_id: str, budget: Budget | None = None) -> Feed:
        """The given items, best first for a person; legal rules hold, composition is the caller's."""
        return self._answers.rank(request, now_ms, request_id, budget or Budget())

    def warm(self, now_ms: int) -> None:
        """Make some pages that nobody asked for, so that the first that is asked for finds all warm."""
        self._succession.warm(now_ms)

    def refresh(self, now_ms: int) -> None:
        """Make the lists of popular items anew that a page is made of when there is no time for more."""
        self._answers.refresh(now_ms)

    def alive(self, request: AliveRequest, now_ms: int) -> Alive:
        """Which items of a page that was fetched earlier may still be shown to a person, and why others may not."""
        with self.mutex:
            return lookups.alive(self.generation, request, now_ms)

    def similar(self, item_id: str, k: int, now_ms: int) -> tuple[FeedItem, ...]:
        """At most k presentable items of the same kind, nearest in taste first, ties by row."""
        with self.mutex:
            return lookups.similar(self.generation, item_id, k, now_ms)

    def item(self, item_id: str) -> Item:
        """The catalog's row of an item."""
        with self.mutex:
            return lookups.item(self.generation, item_id)

    def status(self, now_ms: int) -> Status:
        """How the engine stands."""
        with self.mutex:
            generation, state = self.generation, self.generation.state
            return Status(
                bundle=generation.bundle.version,
                bundle_since_ms=self._succession.bundle_since_ms,
                bundle_ready_ms=self._succession.bundle_ready_ms,
                coming=self._succession.coming,
                policy=generation.policy.version,
                policy_since_ms=self._succession.policy_since_ms,
                policy_fault=self.policy_fault or self._ledger.fault,
                offset=state.offset,
                received_ms=state.received_ms,
                users=len(state.users) - 1,
                items=len(state.items) - 1,
                rooms_alive=generation.on_air.count(now_ms),
                late_events=int(state.ignored[0]),
                repeated_watches=int(state.ignored[1]),
                writer=self._is_writer,
                indexes=generation.indexed(),
                shadow=self._agreement(),
            )

    def take_up(self, bundle: Bundle, now_ms: Callable[[], int], is_wanted: Callable[[], bool] = lambda: True) -> bool:
        """Serve another bundle, once all that its pages need is ready; a page that has begun is finished by the old.

        Parameters
        ----------
        bundle : Bundle
        now_ms : callable
            The clock.
        is_wanted : callable
            Asked again and again while it is made ready.

        Returns
        -------
        bool
            Whether it is served; False where it was wanted no more, or the engine was closed meanwhile.
        """
        return self._succession.take_up(bundle, now_ms, is_wanted)

    def go_by(self, policy: Policy, now_ms: Callable[[], int]) -> None:
        """Serve under another policy from now on; a page that has begun is finished under the one before."""
        self._succession.go_by(policy, now_ms)

    def flush(self) -> None:
        """Write down the pages that still wait for the log."""
        self._journal.flush()

    def close(self) -> None:
        """Give up what is made ready, write down what waits, keep a snapshot, let go of the log."""
        self._succession.close()
        self.generation.close()
        try:
            if self._is_writer:
                self.flush()
                snapshot.save(self.generation.state, self.home / "state", self._log.names)
                self._ledger.close(self._log.last_ms)
        finally:
            self._log.close()

    def watch_pages(self, beside: Beside | None, agreement: Callable[[], Agreement]) -> None:
        """Tell somebody of each page that is made from now on, or nobody any more; status tells what they found."""
        self._answers.beside, self._agreement = beside, agreement

    def archive(self, before_ms: int) -> int:
        """Move whole received days before a moment to the archive; returns how many records moved."""
        return self._log.archive(before_ms)

    def erasures(self) -> int:
        """Grows when an erasure begins and when it ends."""
        return self._log.erasures()

    def scrub(self) -> None:
        """Take the contexts of cleared histories out of the log's files; what fails the next call or start does."""
        if self._log.scrub():
            snapshot.clear(self.home / "state")

    def erase(self, user_id: str, now_ms: int) -> Ack:
        """Forget a person: no file holds the id when this returns, their row is as new, and counters of items stay.

        Raises
        ------
        RequestError
            If nothing is known of the person.
        LogError
            If the id could not be taken out everywhere; asked again, or at the next look or start, the rest is done.
        """
        with self._journal.writing:
            # Somebody may be known by a page alone that still waits.
            self._journal.flush()
            with self.mutex:
                is_known = bool(user_id and self.generation.state.users.find(user_id))
            ack = self._journal.forget(user_id, now_ms, self._rename) if is_known else None
        if ack is None:
            self.scrub()  # It may have been cut short before: it is brought to its end before we say so.
            raise RequestError(f"Nothing is known of user {user_id!r}.", "Erasing is done.")
        self._journal.scrub()
        return ack

    def _rename(self, user_id: str, after: str) -> None:
        with self.mutex:
            self.generation.state.rename_user(user_id, after)

    def take_down(self, item_id: str, now_ms: int) -> Ack:
        """Take an item down: no page whose last check begins after this returns holds it."""
        with self._journal.writing:
            return self.append([msgspec.structs.replace(self.item(item_id), listed=False, ts_ms=now_ms)], now_ms)[0]
