"""What a person was shown and bought, in plain Python, and what of it a page must not show again."""

from collections import defaultdict

from features.fold.rings import TICK_BITS
from ranking.api import Feed
from ranking.policy import Policy

NEAR_MS = 2 << TICK_BITS
"""The engine keeps moments to the nearest tick: what is so near an edge is not judged."""
SEEN, BOUGHT = 40, 8
"""How far the windows reach back at least."""


class Memory:
    """Impressions and orders of every person, in the order of the log, which is that of time; nobody's are not kept."""

    def __init__(self) -> None:
        self.shown: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self.bought: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self.switched_off: set[str] = set()

    def clear(self, user: str) -> None:
        """Forget what a person was shown and bought."""
        self.shown.pop(user, None)
        self.bought.pop(user, None)

    def told(self, user: str, command: str) -> None:
        """Do as a person says."""
        if command == "clear_history":
            self.clear(user)
        elif command == "personalisation_off":
            self.switched_off.add(user)
        elif command == "personalisation_on":
            self.switched_off.discard(user)

    def again(self, policy: Policy, feed: Feed) -> list[str]:
        """Items of a page that the person had lately, where the page does not say that this gave way."""
        found = []
        for name in (item.item_id for item in feed.items):
            why = self.why_not(policy, feed.user_id, name, feed.now_ms)
            if why and why not in feed.relaxed:
                found.append(f"{name} is shown again: {why}")
        return found

    def why_not(self, policy: Policy, user: str, name: str, now_ms: int) -> str:
        """What is certain of an item: of this session, or bought or seen within its window; empty where nothing is."""
        pause, seen, bought = (window - NEAR_MS for window in policy.suppress.windows_ms)
        shown = self.shown.get(user, [])
        last_ms = now_ms
        for ts_ms, one in reversed(shown):
            if last_ms - ts_ms > pause:
                break
            if one == name:
                return "session"
            last_ms = min(last_ms, ts_ms)
        if user in self.switched_off:
            return ""
        if any(one == name and now_ms - ts_ms <= bought for ts_ms, one in self.bought.get(user, [])[-BOUGHT:]):
            return "bought"
        if any(one == name and now_ms - ts_ms <= seen for ts_ms, one in shown[-SEEN:]):
            return "seen"
        return ""
