"""A changed policy.toml is served within seconds: the file is watched, and taken up between two pages."""

import logging
from collections.abc import Callable

from features.errors import HuozhaoError
from ranking.engine import Engine
from ranking.policy import load
from ranking.policy.versions import keep
from serving.promotion import WATCH_EVERY_S
from serving.watch import Watch

_log = logging.getLogger(__name__)


class Policies(Watch):
    """Takes up the policy of a home whenever its file changes, in a thread of its own, and keeps every version.

    A file that is wrong leaves the policy in force in place; it is told once, and in status until it is mended.

    Parameters
    ----------
    engine : Engine
    now_ms : callable
        The clock.
    every_s : float
        How often the file is looked at.
    """

    def __init__(self, engine: Engine, now_ms: Callable[[], int], every_s: float = WATCH_EVERY_S) -> None:
        super().__init__("policies", every_s)
        self._engine = engine
        self._file = engine.home / "policy.toml"
        self._kept = engine.home / "policies"
        self._now_ms = now_ms
        self._seen: bytes | None = None

    def start(self) -> None:
        """Write down what is in force, and begin; returns at once."""
        keep(self._kept, self._engine.generation.policy, self._now_ms())
        super().start()

    def _look(self) -> None:
        try:
            self._follow()
        except (HuozhaoError, OSError) as error:
            fault = str(error)
            if fault != self._engine.policy_fault:
                _log.error("policy.toml cannot be served; the policy before goes on: %s", fault)
            self._engine.policy_fault = fault

    def _follow(self) -> None:
        text = self._file.read_bytes() if self._file.exists() else b""
        if text == self._seen:
            return
        self._seen = text
        policy, before = load(self._file), self._engine.generation.policy.version
        if policy.version != before:
            self._engine.go_by(policy, self._now_ms)
            keep(self._kept, policy, self._now_ms())
            # A warning, so that it is seen where nobody chose what is logged.
            _log.warning("Policy %s is in force instead of %s", policy.version, before)
        self._engine.policy_fault = ""
