"""The engine: one home, opened. Records go in, pages come out, each as of one moment.

One writer appends to the log, then folds and indexes under the mutex, then acknowledges. A request holds the mutex
while it finds candidates and reads their rows, scores outside it, and takes it once more for the last check.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from features import snapshot
from features.errors import LogError, RequestError
from features.guards import written
from features.live import HomeLog
from features.log import Stored, to_batch
from features.records import FUTURE_MS, Context, Item, Record, Served, Written
from features.rows import Durability
from features.state import FeatureState
from ranking.boosts import Lift
from ranking.bundle import Bundle, current, load
from ranking.generation import Generation
from ranking.intake import acknowledged, asked, checked, record_of
from ranking.leases import Ledger
from ranking.mixer import best_first
from ranking.policy import Policy
from ranking.policy import load as load_policy
from ranking.ranker import BundleRanker
from ranking.show import shown, why_of
from ranking.successor import Maker, MakeRanker
from ranking.types import (
    Ack,
    Candidates,
    Feed,
    FeedItem,
    FeedRequest,
    Ranker,
    RankRequest,
    Slate,
    Status,
)

SERVED_KEPT = 256
"""Served pages wait in memory for the next append; the one that makes it so many writes them all down."""


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

    def __init__(self, home: Path, log: HomeLog, generation: Generation, maker: Maker, *, writer: bool) -> None:
        self.home = home
        self._log = log
        self.generation = generation
        self._maker = maker
        self._ledger = Ledger(home / "boosts" / "leases.jsonl", writer=writer)
        self._since_ms = self._policy_since_ms = 0
        self._is_writer = writer
        self._taking = threading.Lock()
        self._writing = threading.RLock()
        self.mutex: AbstractContextManager[object] = threading.Lock()
        self._served: list[Served] = []
        self.policy_fault = ""

    @classmethod
    def open(
        cls, home: Path, *, writer: bool = True, ranker: MakeRanker = bundled, durability: Durability = "full"
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
            maker = Maker(home, log, ranker, keeps=writer)
            return cls(home, log, maker.anew(bundle, policy), maker, writer=writer)
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

    def feed(self, request: FeedRequest, now_ms: int, request_id: str) -> Feed:
        """A page for a person who asked for nothing.

        Parameters
        ----------
        request : FeedRequest
        now_ms : int
            The moment that ages and counters are read at, and rooms must be alive at.
        request_id : str
            Names the page in the log.

        Raises
        ------
        RequestError
            If the request is not as its type says.
        """
        request, now_ms = asked(request, now_ms, request_id)
        context = Context(request.surface, request.device, request.city_tier, 0)
        with self.mutex:
            generation = self.generation
            count = min(request.count, generation.policy.page_most)
            query = generation.query(
                request_id, request.user_id, count, context, now_ms, request.seen, explain=request.explain
            )
            legal, dropped = generation.legal(query, generation.retrieve(query))
            unseen, seen, gave = generation.unseen(query, legal)
            batch = generation.assemble(query, unseen, explain=request.explain)
            lottery = generation.newcomers(query, batch)
        chosen, cut = generation.glance(batch, lottery)
        dropped |= seen | cut
        with generation.lift(generation.score(chosen), self._ledger) as lift:
            slate, relaxed = generation.compose(lift.scored, lottery)
            return self._finish(generation, lift, slate, dropped, explain=request.explain, relaxed=gave + relaxed)

    def rank(self, request: RankRequest, now_ms: int, request_id: str) -> Feed:
        """The given items, best first for a person; legal rules hold, composition is the caller's."""
        request, now_ms = asked(request, now_ms, request_id)
        context = Context(request.surface, request.device, request.city_tier, 0)
        names = tuple(dict.fromkeys(request.item_ids))
        with self.mutex:
            generation = self.generation
            query = generation.query(request_id, request.user_id, len(names), context, now_ms, explain=request.explain)
            rows = generation.state.items.find_all(names)
            known = rows[rows > 0]
            legal, dropped = generation.legal(query, Candidates(known, np.zeros(len(known), np.uint8)))
            batch = generation.assemble(query, legal, explain=request.explain)
        if len(known) < len(names):
            dropped["unknown"] = len(names) - len(known)
        scored = generation.score(batch)
        order = best_first(scored.value, batch.rows)
        slate = Slate(order, order[:0])
        unlifted = Lift(scored, self._ledger, {})
        return self._finish(generation, unlifted, slate, dropped, explain=request.explain, source="request")

    def similar(self, item_id: str, k: int, now_ms: int) -> tuple[FeedItem, ...]:
        """At most k presentable items of the same kind, nearest in taste first, ties by row."""
        with self.mutex:
            generation, state = self.generation, self.generation.state
            row = state.items.find(item_id)
            if state.item(row) is None:
                raise RequestError(f"Item {item_id!r} is not in the catalog.", "Put it there first.")
            index = generation.indexes[int(state.arrays.items.categories[row, 4])]
            # Twice as many as asked for, since some may have gone.
            rows, scores = index.search(generation.reader.vectors.item[row], 2 * k + 1)
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
                with self.mutex:
                    before, self.generation, self._since_ms = self.generation, made, now_ms()
            before.close()

    def go_by(self, policy: Policy, now_ms: Callable[[], int]) -> None:
        """Serve under another policy from now on; a page that has begun is finished under the one before."""
        with self._taking, self._writing:
            made = self._maker.under(self.generation, policy)
            with self.mutex:
                self.generation, self._policy_since_ms = made, now_ms()

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

    def take_down(self, item_id: str, now_ms: int) -> Ack:
        """Take an item down: no page whose last check begins after this returns holds it."""
        with self._writing:
            return self.append([msgspec.structs.replace(self.item(item_id), listed=False, ts_ms=now_ms)], now_ms)[0]

    def _finish(
        self,
        generation: Generation,
        lift: Lift,
        slate: Slate,
        dropped: dict[str, int],
        *,
        explain: bool,
        source: str = "",
        relaxed: tuple[str, ...] = (),
    ) -> Feed:
        scored, batch, query = lift.scored, lift.scored.batch, lift.scored.batch.query
        with self.mutex:
            # The last check goes by what is served now: only its state is folded on.
            page, gone = self.generation.fit(scored, slate)
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
            dropped=dropped | gone,
            relaxed=relaxed,
        )
        if self._is_writer:
            with self.mutex:
                self._served.append(record_of(feed, query.context))
                waiting = len(self._served)
            # While another bundle is taken up pages go on, and wait for the log a little longer.
            if waiting >= SERVED_KEPT and self._writing.acquire(blocking=waiting >= 64 * SERVED_KEPT):
                try:
                    self.flush()
                finally:
                    self._writing.release()
        return feed
