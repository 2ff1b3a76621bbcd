"""The engine: one home, opened. Records go in, pages come out, each as of one moment.

One writer appends to the log, then folds and indexes under the mutex, then acknowledges. A request holds the mutex
while it finds candidates and reads their rows, scores outside it, and takes it once more for the last check.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from features import snapshot
from features.erase import Erasure, drawn_name, scrubbed_page
from features.errors import LogError, RequestError
from features.guards import written
from features.live import HomeLog
from features.log import Stored, to_batch
from features.records import FUTURE_MS, Context, Decision, Erase, Found, Item, Record, Served, Written
from features.rows import Durability
from features.state import FeatureState
from features.storage import give_back
from ranking.bundle import Bundle, current, load
from ranking.generation import Generation
from ranking.intake import acknowledged, asked, checked, record_of
from ranking.ladder import FEED, RANK, Budget, Ladder, Level
from ranking.leases import Ledger
from ranking.making import SCORED, Made, Read, as_given, composed, gave_way, ordered, popular, read, read_given, warm
from ranking.policy import Policy
from ranking.policy import load as load_policy
from ranking.popular import Popular
from ranking.ranker import BundleRanker
from ranking.sample import GIVEN, SHARE, decision_of, found_by, is_kept
from ranking.show import shown, why_of
from ranking.successor import Maker, MakeRanker
from ranking.types import (
    Ack,
    Alive,
    AliveRequest,
    Candidates,
    Feed,
    FeedItem,
    FeedRequest,
    Ranker,
    RankRequest,
    Status,
)

Make = Callable[[Generation, Read, Level, Budget, Ledger], Made]
SERVED_KEPT = 256
"""Served pages wait in memory for the next append; the one that makes it so many writes them all down."""
_log = logging.getLogger(__name__)


def bundled(bundle: Bundle, _: FeatureState) -> Ranker:
    """The bundle's own ranker."""
    return BundleRanker(bundle)


class Engine:
    """A home, opened: its log, its state and what it is served with. Safe to call from many threads.

    Made by ``Engine.open``; close it when done, or use it as a context manager.

    ``policy_fault`` is what is wrong with a policy that was written since, as status tells it; whoever watches sets it.
    ``generation`` is what answers now, for those who measure it while nobody appends; ``mutex`` guards it, and another
    that keeps who waits may be put in its place before anyone asks.
    """

    def __init__(
        self, home: Path, log: HomeLog, generation: Generation, maker: Maker, *, writer: bool, share: float = SHARE
    ) -> None:
        self.home = home
        self._log = log
        self.generation = generation
        self._maker = maker
        self._ledger = Ledger(home / "boosts" / "leases.jsonl", writer=writer)
        self._since_ms = self._policy_since_ms = 0
        self._is_writer, self._share = writer, share
        self._taking = threading.Lock()
        self._writing = threading.RLock()
        self.mutex: AbstractContextManager[object] = threading.Lock()
        self._served: list[Served | Decision] = []
        self._erased: dict[str, Erasure] = {}
        self.policy_fault = ""
        self._feeds, self._ranks = Ladder(FEED), Ladder(RANK)
        self._popular = Popular()

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
        """
        if not self._is_writer:
            raise RequestError("This engine was opened as a reader.", "Open it with writer=True to append.")
        found = [checked(record, received_ms) for record in records]
        good = [one for one in found if not isinstance(one, str)]
        with self._writing:
            behind = self._log.last_ms - received_ms
            if behind > FUTURE_MS:
                what = f"The clock is {behind / 1000:.0f} s behind the log's last record ({self._log.last_ms} ms)."
                raise LogError(what, "Set the clock; if it ran ahead before, begin a new home.")
            served = tuple(self._served)
            offsets = self._keep([*map(written, served), *good], received_ms)[len(served) :]
            with self.mutex:
                del self._served[: len(served)]
        placed = iter(offsets)
        return tuple(
            Ack("rejected", error=one) if isinstance(one, str) else acknowledged(next(placed)) for one in found
        )

    def _keep(self, kept: Sequence[Written], received_ms: int) -> list[int | None]:
        received_ms = max(received_ms, self._log.last_ms)
        offsets = self._log.append_written(kept, received_ms)
        placed = [Stored(at, received_ms, *one) for at, one in zip(offsets, kept, strict=True) if at is not None]
        if placed:
            batch = to_batch(placed)
            with self.mutex:
                self.generation.fold(batch)
        return offsets

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
            What time is left. Where it is too little the page is a lesser one, by the rungs of ``ranking.ladder``, and
            says so; legal rules hold on every rung.

        Raises
        ------
        RequestError
            If the request is not as its type says.
        """
        request, now_ms = asked(request, now_ms, request_id)
        budget, made = budget or Budget(), None
        context = Context(request.surface, request.device, request.city_tier, 0)
        with self.mutex:
            budget.lap("wait")
            generation, level = self.generation, self._feeds.rung(budget)
            count = min(request.count, generation.policy.page_most)
            query = generation.query(
                request_id, request.user_id, count, context, now_ms, request.seen, explain=request.explain
            )
            found = read(generation, query, budget, explain=request.explain) if level in SCORED else None
        if found:
            level = self._feeds.rung(budget, passed=("retrieve",))
            made = self._tried(composed, generation, found, level, budget)
        if made is None:
            with self.mutex:
                # The state of another generation would not be folded on.
                generation = self.generation
                rung: Level = "last" if level == "last" else "popular"
                made = popular(generation, query, self._popular, rung, budget, self._ledger)
        why = "" if made.level == "full" else "ranker" if level in SCORED and made.level != level else "deadline"
        feed = self._finish(generation, made, why, budget, explain=request.explain)
        self._feeds.learn(budget)
        return feed

    def rank(self, request: RankRequest, now_ms: int, request_id: str, budget: Budget | None = None) -> Feed:
        """The given items, best first for a person; legal rules hold, composition is the caller's."""
        request, now_ms = asked(request, now_ms, request_id)
        budget = budget or Budget()
        context = Context(request.surface, request.device, request.city_tier, 0)
        names = tuple(dict.fromkeys(request.item_ids))
        with self.mutex:
            budget.lap("wait")
            generation = self.generation
            query = generation.query(request_id, request.user_id, len(names), context, now_ms, explain=request.explain)
            rows = generation.state.items.find_all(names)
            known = Candidates(given := rows[rows > 0], np.zeros(len(given), np.uint8))
            found = read_given(generation, query, budget, known, explain=request.explain)
        if len(given) < len(names):
            found.dropped["unknown"] = len(names) - len(given)
        level = self._ranks.rung(budget, ("retrieve",), len(names))
        made = self._tried(ordered, generation, found, level, budget) or as_given(generation, found, self._ledger)
        why = "" if made.level == "full" else "ranker" if level in SCORED and made.level != level else "deadline"
        feed = self._finish(generation, made, why, budget, explain=request.explain, source=GIVEN)
        self._ranks.learn(budget, len(names))
        return feed

    def _tried(self, make: Make, generation: Generation, found: Read, level: Level, budget: Budget) -> Made | None:
        """A page by scores; None where there is no time for them, or the ranker failed."""
        if level not in SCORED:
            return None
        try:
            return make(generation, found, level, budget, self._ledger)
        except Exception:  # noqa: BLE001  # whatever it met, there is a page without it; the fault is counted and told
            if not generation.faults["ranker"]:
                _log.exception("The ranker failed; pages are made without it, and it is asked again")
            generation.faults["ranker"] += 1
            return None

    def warm(self, now_ms: int) -> None:
        """Make some pages that nobody asked for, so that the first that is asked for finds all warm."""
        with self._writing:
            warm(self.generation, now_ms, self._ledger)
        self.refresh(now_ms)

    def refresh(self, now_ms: int) -> None:
        """Make the lists of popular items anew that a page is made of when there is no time for more."""
        with self.mutex:
            for surface in self.generation.policy.surfaces:
                query = self.generation.query("", "", 1, Context(surface), now_ms)
                self._popular.find(self.generation, query, "popular")

    def alive(self, request: AliveRequest, now_ms: int) -> Alive:
        """Which items of a page that was fetched earlier may still be shown to a person, and why others may not."""
        names = tuple(dict.fromkeys(request.item_ids))
        with self.mutex:
            generation = self.generation
            query = generation.query("", request.user_id, 1, Context(request.surface), now_ms)
            rows = generation.state.items.find_all(names)
            said = generation.why_not(query, rows)
        known = zip(names, rows.tolist(), said, strict=True)
        why = {name: reason if row else "unknown" for name, row, reason in known}
        return Alive(
            tuple(name for name in names if not why[name]), {name: reason for name, reason in why.items() if reason}
        )

    def similar(self, item_id: str, k: int, now_ms: int) -> tuple[FeedItem, ...]:
        """At most k presentable items of the same kind, nearest in taste first, ties by row."""
        with self.mutex:
            generation, state = self.generation, self.generation.state
            row = state.items.find(item_id)
            if state.item(row) is None:
                raise RequestError(f"Item {item_id!r} is not in the catalog.", "Put it there first.")
            # Twice as many as asked for, since some may have gone.
            rows, scores = generation.alike(row, 2 * k + 1)
            fit = generation.showable(rows, now_ms) & (rows != row)
            payloads = [state.payloads[found] for found in rows[fit][:k].tolist()]
        near = zip(payloads, scores[fit][:k].tolist(), strict=True)
        return tuple(shown(payload, score, "similar", why=why_of("similar", "", 0)) for payload, score in near)

    def item(self, item_id: str) -> Item:
        """The catalog's row of an item."""
        with self.mutex:
            state = self.generation.state
            found = state.item(state.items.find(item_id))
        if found is None:
            raise RequestError(f"Item {item_id!r} is not in the catalog.", "Put it there first.")
        return found

    def status(self, now_ms: int) -> Status:
        """How the engine stands."""
        with self.mutex:
            generation, state = self.generation, self.generation.state
            return Status(
                bundle=generation.bundle.version,
                bundle_since_ms=self._since_ms,
                policy=generation.policy.version,
                policy_since_ms=self._policy_since_ms,
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
            )

    def take_up(self, bundle: Bundle, now_ms: Callable[[], int]) -> None:
        """Serve another bundle from now on; a page that has begun is finished with the one before.

        A state of the same layout goes on, and appends wait while its vectors and indexes are made anew; for another
        layout the log is folded beside what is served. Pages are asked for and answered all the while.
        """
        with self._taking:
            policy, state = self.generation.policy, self.generation.state
            made = None
            if bundle.feature_set.layout != state.layout:
                made = self._maker.anew(bundle, policy)
                self._maker.catch_up(made)
            with self._writing:
                if made is None:
                    made = self._maker.over(state, bundle, policy)
                else:
                    self._maker.catch_up(made)
                warm(made, now_ms(), self._ledger)
                with self.mutex:
                    before, self.generation, self._since_ms = self.generation, made, now_ms()
                    self._popular.forget()
            before.close()

    def go_by(self, policy: Policy, now_ms: Callable[[], int]) -> None:
        """Serve under another policy from now on; a page that has begun is finished under the one before."""
        with self._taking, self._writing:
            made = self._maker.under(self.generation, policy)
            with self.mutex:
                self.generation, self._policy_since_ms = made, now_ms()
                self._popular.forget()

    def flush(self) -> None:
        """Write down the pages that still wait for the log, as received when the last of them was asked for.

        A page may be asked for as of an earlier moment than the log's last record: its own time stays in it.
        """
        if waiting := tuple(self._served):
            self.append((), max(self._log.last_ms, *(page.ts_ms for page in waiting)))

    def close(self) -> None:
        """Write down what waits, keep a snapshot, let go of the log."""
        self.generation.close()
        try:
            if self._is_writer:
                self.flush()
                snapshot.save(self.generation.state, self.home / "state")
                self._ledger.close(self._log.last_ms)
        finally:
            self._log.close()

    def archive(self, before_ms: int) -> int:
        """Move whole received days before a moment to the archive; returns how many records moved."""
        return self._log.archive(before_ms)

    def erase(self, user_id: str, now_ms: int) -> Ack:
        """Forget a person: nothing in the home holds the id when this returns, and their row is as new.

        What they did stays in the counters of items, under a name drawn by lot. Snapshots go with it.

        Raises
        ------
        RequestError
            If nothing is known of the person.
        LogError
            If the id could not be taken out everywhere; the home's next start does the rest.
        """
        with self._writing:
            with self.mutex:
                if not (user_id and self.generation.state.users.find(user_id)):
                    raise RequestError(f"Nothing is known of user {user_id!r}.", "Erasing is done.")
            (ack,) = self.append([Erase(user_id, now_ms)], now_ms)
            erasure = Erasure(user_id, drawn_name(), self._log.end())
            self._log.begin_erasing(erasure)
            with self.mutex:
                self.generation.state.rename_user(user_id, erasure.after)
                self._erased[user_id] = erasure
        try:
            snapshot.clear(self.home / "state")
            self._log.scrub()
        finally:
            # One may have been taken meanwhile, of the log as it was.
            snapshot.clear(self.home / "state")
        return ack

    def take_down(self, item_id: str, now_ms: int) -> Ack:
        """Take an item down: no page whose last check begins after this returns holds it."""
        with self._writing:
            return self.append([msgspec.structs.replace(self.item(item_id), listed=False, ts_ms=now_ms)], now_ms)[0]

    def _finish(
        self, generation: Generation, made: Made, why: str, budget: Budget, *, explain: bool, source: str = ""
    ) -> Feed:
        scored = made.lift.scored
        batch, query = scored.batch, scored.batch.query
        kept = self._is_writer and (explain or is_kept(query.request_id, self._share))
        found, seen = tuple[Found, ...](), tuple[str, ...]()
        with made.lift as lift:
            with self.mutex:
                # The last check goes by what is served now: only its state is folded on.
                page, gone = self.generation.fit(scored, made.slate)
                checked_offset = self.generation.state.offset
                if kept:
                    found = found_by(generation.state, made.found, generation.names, source)
                    seen = tuple(map(generation.state.items.name, query.shown.tolist()))
            lift.spend(generation.policy.boosts, page.at)
        feed = Feed(
            request_id=query.request_id,
            user_id=query.user_id,
            surface=query.context.surface,
            now_ms=query.now_ms,
            read_offset=batch.read_offset,
            bundle=generation.bundle.version,
            policy=generation.policy.version,
            items=generation.show(scored, page, explain=explain, source=source),
            dropped=made.dropped | gone,
            relaxed=gave_way(made, page),
            level=made.level,
            degraded=why,
            given_up=generation.given_up(scored, page.at) if explain and not source else {},
        )
        if self._is_writer:
            decision = [decision_of(feed, made, found, seen, checked_offset)] if kept else []
            self._write_down(record_of(feed, query.context), decision)
        budget.lap("finish")
        return feed

    def _write_down(self, page: Served, decision: Sequence[Decision]) -> None:
        """Let a page wait for the log, with what is kept of its decision right behind it."""
        with self.mutex:
            erasure = self._erased.get(page.user_id)
            if erasure is not None and page.read_offset < erasure.stop:
                # Who is erased while a page of theirs is made is not in its record, nor is what it was chosen from.
                page, decision = scrubbed_page(page, erasure.after), ()
            self._served.extend((page, *decision))
            waiting = len(self._served)
        # While another bundle is taken up pages go on, and wait for the log a little longer.
        if waiting >= SERVED_KEPT and self._writing.acquire(blocking=waiting >= 64 * SERVED_KEPT):
            try:
                self.flush()
            finally:
                self._writing.release()
