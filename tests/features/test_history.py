"""Slates: which impressions were seen together, and the moment that their features are read at."""

from features.history import History, read_history, slates_of
from features.logs.log import Stored
from features.records import Action, Context, Event, Item, Kind, Record, Served, Slot, User
from features.replay import moments_of
from tests.random_log import START_MS, MemoryLog, random_log

MINUTE = 60_000


def shown(number: int, user: str, minute: int, request: str = "", item: str = "v") -> Event:
    return Event(f"e{number}", START_MS + minute * MINUTE, item, Action.IMPRESSION, user, request_id=request)


def history_of(*records: Record) -> History:
    return read_history(MemoryLog([Stored(i, START_MS + 10**9, record) for i, record in enumerate(records)]))


def groups(history: History) -> list[list[int]]:
    slates = slates_of(history)
    found: dict[int, list[int]] = {}
    for slate, event in zip(slates.slate.tolist(), slates.event.tolist(), strict=True):
        found.setdefault(slate, []).append(int(history.events.offset[event]))
    return [found[slate] for slate in range(len(found))]


def test_without_requests_a_slate_is_a_session_with_gaps_of_at_most_half_an_hour() -> None:
    minutes = [0, 30, 61, 62]
    history = history_of(*(shown(i, "u", minute) for i, minute in enumerate(minutes)), shown(9, "w", 1))
    assert groups(history) == [[0, 1], [2, 3], [4]]
    slates = slates_of(history)
    assert sorted(set(slates.now_ms.tolist())) == [START_MS + m * MINUTE for m in (0, 1, 61)]
    assert sorted(set(slates.read_offset.tolist())) == [0, 2, 4]


def test_a_request_is_one_slate_however_long_it_is_looked_at() -> None:
    history = history_of(shown(0, "u", 0, "r"), shown(1, "u", 90, "r"), shown(2, "u", 91, "s"))
    assert groups(history) == [[0, 1], [2]]


def test_a_served_page_is_read_at_its_own_moment_and_in_its_own_context() -> None:
    context = Context("plaza", "phone", "1", 0)
    page = Served("r", START_MS + 5, 1, "u", context, "bundle", "policy", (Slot("v", "live"),))
    history = history_of(User("u", START_MS), Item("v", START_MS, Kind.ROOM), page, shown(3, "u", 1, "r"))
    slates = slates_of(history)
    assert slates.read_offset.tolist() == [1]
    assert slates.now_ms.tolist() == [START_MS + 5]
    (moment,) = moments_of(history, slates)
    assert moment.context == context
    assert moment.item_ids == ["v"]


def test_slates_are_in_the_order_of_the_log_and_cover_every_impression_once() -> None:
    history = read_history(random_log(5, 400))
    slates = slates_of(history)
    impressions = (history.events.action == 0).nonzero()[0]
    assert sorted(slates.event.tolist()) == impressions.tolist()
    assert (slates.read_offset[1:] >= slates.read_offset[:-1]).all()
    assert (slates.slate[1:] - slates.slate[:-1] >= 0).all()
    assert (slates.read_offset <= history.events.offset[slates.event]).all()


def test_an_empty_log_has_no_slates() -> None:
    history = read_history(MemoryLog([]))
    assert len(history.events) == 0
    assert len(slates_of(history)) == 0
    assert moments_of(history, slates_of(history)) == []


def test_what_was_received_later_is_not_read() -> None:
    log = random_log(5, 300)
    cut = log.stored[200].received_ms
    history = read_history(log, cut)
    assert history.end == next(one.offset for one in log.stored if one.received_ms >= cut)
    assert (history.events.received_ms < cut).all()
