"""A changed policy.toml is served within seconds: the file is watched, and taken up between two pages."""

import codecs
import logging
from collections.abc import Callable

from features.errors import HuozhaoError, PolicyError
from ranking.engine import Engine
from ranking.policy import default, read
from ranking.policy.versions import history, keep
from serving.watch import Watch

WATCH_EVERY_S = 0.5
"""Twice a second, since a change is taken up at the second look: it is in force about a second after it was written."""

_log = logging.getLogger(__name__)


class Policies(Watch):
    """Takes up the policy of a home whenever its file changes, in a thread of its own, and keeps every version.

    A change is taken up once two looks in a row found the same, so that a file that is being written is not served by
    halves. A file that is wrong leaves the policy in force in place, and so does one that is gone or blank where one
    was: rules of law do not end because a file was lost. It is told once, and in status until it is mended.

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
        self._judged: bytes | None = None
        self._had_one = False

    def start(self) -> None:
        """Write down what is in force, and begin; returns at once.

        A start under the default policy for want of a file, where another was in force before, is warned of.
        """
        policy, before = self._engine.generation.policy, history(self._kept)
        self._had_one = policy.version != default().version or not _is_blank(self._read())
        if not self._had_one and before and before[-1].version != policy.version:
            told = "There is no policy.toml: the default policy is in force; before it was %s, which lies in policies/"
            _log.warning(told, before[-1].version)
        keep(self._kept, policy, self._now_ms())
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
        before, self._seen = self._seen, None
        text = self._seen = self._read()
        # What was at fault is judged again: the fault may lie outside the text, as in a disk that was full.
        if text != before or (text == self._judged and not self._engine.policy_fault):
            return
        self._judged = text
        self._take_up(text)

    def _read(self) -> bytes:
        """The file as it is; nothing where there is none."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return b""

    def _take_up(self, text: bytes) -> None:
        if not _is_blank(text):
            self._had_one = True
        elif self._had_one:
            way_out = "Put it back, as from policies/, or write what is meant; `huozhao policy show default` is one."
            raise PolicyError("policy.toml is gone or empty, and there was one.", way_out)
        policy, before = read(text, self._file.name), self._engine.generation.policy.version
        if policy.version != before:
            self._engine.go_by(policy, self._now_ms)
            # A warning, so that it is seen where nobody chose what is logged.
            _log.warning("Policy %s is in force instead of %s", policy.version, before)
        keep(self._kept, policy, self._now_ms())
        self._engine.policy_fault = ""


def _is_blank(text: bytes) -> bool:
    return not text.removeprefix(codecs.BOM_UTF8).strip()
