"""Decision replay: a page that was served, decided once more from the log at its moment, with its bundle or another.

What was kept of it are its candidates; all else (features, scores, order, bounds, the last check) is computed anew by
the stages that served it, over a state folded to its offset.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from features import snapshot
from features.errors import BundleError, MomentError, PolicyError, RequestError
from features.logs.live import HomeLog
from features.records import Decision, Found, Served
from features.replay import Progress, quiet
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.ranker import BundleRanker
from ranking.policy import Policy
from ranking.policy import load as load_policy
from ranking.policy.versions import find as find_policy
from ranking.replay.account import Account, Change, Considered, Other
from ranking.replay.outcome import Outcome, taken_again
from ranking.request.sample import GIVEN, digest_of
from ranking.succession.successor import Maker


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back it is looked: into the archive or not, and over how many records at most; None for any number."""

    archived: bool = True
    records: int | None = None


ANYWHERE = Reach()


def re_decide(
    home: Path, request_id: str, bundle: str = "", *, reach: Reach = ANYWHERE, progress: Progress = quiet
) -> Account:
    """The account of a page, decided once more at its moment.

    Parameters
    ----------
    home : Path
        It is only read; a server may be writing to it.
    request_id : str
        As the answer named it. Of several pages of one name the last is meant.
    bundle : str, optional
        Version of a bundle of the home that decides the same candidates beside it.
    reach : Reach
        By default however far back.
    progress : callable
        Told how many records are folded, and of how many.

    Raises
    ------
    RequestError
        If no such page is in the log.
    MomentError
        If it lies beyond ``reach``.
    BundleError
        If the other bundle cannot be read.
    """
    other = load(home / "bundles" / bundle) if bundle else None
    with HomeLog(home / "log", writer=False) as log:
        served, kept = _page(log, home, request_id, reach)
        try:
            with_its_own = load(home / "bundles" / served.bundle) if served.bundle else None
            policy = _policy(home, served.policy)
        except (BundleError, PolicyError) as error:
            return _bare(served, kept, f"It cannot be computed again: {error}")
        if with_its_own is None:
            return _bare(served, kept, "It cannot be computed again: its record names no bundle.")
        again = _Again(home, log, served, kept, policy, reach, progress)
        outcome = again.by(with_its_own)
        account = _account(served, kept, outcome)
        if other is None:
            return account
        return msgspec.structs.replace(account, other=_other(other.version, account, again.by(other)))


def _page(log: HomeLog, home: Path, request_id: str, reach: Reach) -> tuple[Served, Decision | None]:
    if not request_id:
        raise RequestError("No page is named.", "Give the request_id of an answer.")
    found = log.page(request_id, archived=reach.archived)
    if found is None:
        part = "the log" if reach.archived else "the part of the log that is not archived yet"
        way_out = "Take the request_id of an answer of a server; what `huozhao feed` prints is not written down."
        if not reach.archived:
            way_out = "An older one is found with far=true."
        raise RequestError(f"No page {request_id!r} is in {part}.", way_out)
    return found


def _policy(home: Path, version: str) -> Policy:
    """The policy that is in force now where it is the version, else the one that was kept."""
    try:
        now = load_policy(home / "policy.toml")
    except PolicyError:
        # Whoever wrote it is told elsewhere; the version asked for may be kept.
        return find_policy(home / "policies", version)
    return now if now.version == version else find_policy(home / "policies", version)


@dataclass(frozen=True, slots=True)
class _Again:
    """Decides a page again, by one bundle and another."""

    home: Path
    log: HomeLog
    served: Served
    kept: Decision | None
    policy: Policy
    reach: Reach
    progress: Progress

    def by(self, bundle: Bundle) -> Outcome:
        """The outcome of a bundle, over a state of its own as it was."""
        at = self.served.read_offset
        first = snapshot.nearest_offset(bundle.feature_set.layout, self.home / "state", at)
        if self.reach.records is not None and at - first > self.reach.records:
            what = f"The page lies {at - first:,} records after the last snapshot before it."
            raise MomentError(what, "Ask with far=true, or `huozhao why`, which says how far it is.")
        maker = Maker(self.home, self.log, lambda made, _: BundleRanker(made), keeps=False)
        generation = maker.at(bundle, self.policy, at, self.progress)
        return taken_again(generation, self.log, self.served, self.kept or _of_slots(self.served))


def _of_slots(served: Served) -> Decision:
    """What a page that was not sampled says of its decision: what came out of it."""
    items = tuple(slot.item_id for slot in served.slots)
    found = (Found(GIVEN, items),) if items else ()
    return Decision(served.request_id, served.ts_ms, served.read_offset, max(len(items), 1), found=found)


def _account(served: Served, kept: Decision | None, outcome: Outcome) -> Account:
    if kept is None:
        notes = ("Its decision was not sampled: candidates that did not come on the page are not known.",)
        bare = _bare(served, kept, *notes)
        return msgspec.structs.replace(bare, candidates=_as_served(served, outcome.candidates))
    differences = _differences(served, kept, outcome)
    return msgspec.structs.replace(
        _bare(served, kept, *differences),
        verdict="differs" if differences else "equal",
        page=tuple(item.item_id for item in outcome.items),
        dropped=outcome.dropped,
        relaxed=outcome.relaxed,
        candidates=outcome.candidates,
    )


def _bare(served: Served, kept: Decision | None, *notes: str) -> Account:
    """What the records say by themselves."""
    slots = {slot.item_id: at for at, slot in enumerate(served.slots)}
    values = dict(zip(slots, kept.values, strict=False)) if kept else {}
    sources = {item: some.source for some in (kept.found if kept else ()) for item in some.items}
    sources |= {slot.item_id: slot.source for slot in served.slots}
    page = [
        Considered(
            item_id=slot.item_id,
            source=slot.source,
            slot=at,
            propensity=slot.propensity,
            boost_spent=slot.boost_spent,
            value=values.get(slot.item_id),
        )
        for at, slot in enumerate(served.slots)
    ]
    rest = [Considered(item_id=item, source=source) for item, source in sources.items() if item not in slots]
    return Account(
        request_id=served.request_id,
        user_id=served.user_id,
        context=served.context,
        now_ms=served.ts_ms,
        read_offset=served.read_offset,
        bundle=served.bundle,
        policy=served.policy,
        level=served.level,
        degraded=served.degraded,
        sampled=kept is not None,
        verdict="unknown",
        notes=notes,
        served=served.slots,
        page=tuple(slots),
        candidates=(*page, *rest),
    )


def _as_served(served: Served, candidates: tuple[Considered, ...]) -> tuple[Considered, ...]:
    """A page's own items as they are worth at its moment, where they stood, by what found them."""
    found = {one.item_id: one for one in candidates}
    unknown = Considered(item_id="", source="")
    return tuple(
        msgspec.structs.replace(
            found.get(slot.item_id, unknown),
            item_id=slot.item_id,
            source=slot.source,
            slot=at,
            place=None,
            reranked=None,
            propensity=slot.propensity,
            boost_spent=slot.boost_spent,
        )
        for at, slot in enumerate(served.slots)
    )


def _differences(served: Served, kept: Decision, outcome: Outcome) -> tuple[str, ...]:
    """How a page computed again differs from the one served; none where it is the same to the last bit."""
    notes = []
    if outcome.unknown:
        notes.append(f"{outcome.unknown} candidates are in the log no more: it was repaired, or a part is missing.")
    before, after = [slot.item_id for slot in served.slots], [item.item_id for item in outcome.items]
    if before != after:
        slots = [at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]]
        first = slots[0] if slots else min(len(before), len(after))
        notes.append(f"Other items stand on it, from slot {first} on.")
    elif [item.value for item in outcome.items] != list(kept.values):
        notes.append("The same items in the same order have other values.")
    elif digest_of(outcome.items) != kept.digest:
        notes.append("The same items of the same values have other terms, sources or propensities.")
    if notes:
        notes.append(
            "Bundle, policy and candidates are those it was served with: its person was erased or cleared since, the "
            "policy changed before its last check, or the program or a library is of another version."
        )
    return tuple(notes)


def _other(version: str, account: Account, outcome: Outcome) -> Other:
    after = {one.item_id: one for one in outcome.candidates}
    before = {one.item_id: one for one in account.candidates}
    page = tuple(item.item_id for item in outcome.items)
    changes = []
    for item_id in dict.fromkeys((*account.page, *page)):
        was, is_now = before.get(item_id), after.get(item_id)
        names = dict.fromkeys([*(was.terms if was else ()), *(is_now.terms if is_now else ())])
        changes.append(
            Change(
                item_id=item_id,
                slot=(was.slot if was else None, is_now.slot if is_now else None),
                value=(was.value if was else None, is_now.value if is_now else None),
                terms={
                    name: (was.terms.get(name) if was else None, is_now.terms.get(name) if is_now else None)
                    for name in names
                },
            )
        )
    return Other(bundle=version, page=page, relaxed=outcome.relaxed, dropped=outcome.dropped, changes=tuple(changes))
