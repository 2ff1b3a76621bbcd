"""What a server looks at again and again beside its pages: one thread each, from its start until it is told to stop."""

import threading
from abc import ABC, abstractmethod


class Watch(ABC):
    """Looks at once and then every so often, in a thread of its own; a look tells its faults itself.

    Parameters
    ----------
    name : str
        Of the thread.
    every_s : float
        How long it rests between looks, in seconds.
    """

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s = every_s
        self._told_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Return when no look is under way any more, and none will be."""
        self._told_to_stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._told_to_stop.is_set():
            self._look()
            self._told_to_stop.wait(self._every_s)

    @abstractmethod
    def _look(self) -> None: ...
