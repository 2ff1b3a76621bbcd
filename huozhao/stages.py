"""How far a long command is: a bar for each stage on a terminal, a plain line otherwise; on standard error."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Stages:
    """Tells of one stage after the other; a context manager, called as ``(stage, done, of)``.

    Parameters
    ----------
    every_s : float
        How often a stage that goes on is told of once more, where there is no terminal.
    """

    def __init__(self, every_s: float = 10.0) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun = time.monotonic()
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._still, name="stages", daemon=True)

    def __enter__(self) -> Self:
        self._bars.start()
        if not self._console.is_terminal:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._finish()
        self._bars.stop()
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def __call__(self, stage: str, done: int, of: int) -> None:
        """Note that so much of a stage is done."""
        if stage not in self._tasks:
            self._finish()
            self._tasks[stage] = self._bars.add_task(stage, total=None)
            if not self._console.is_terminal:
                self._tell(stage)
        self._bars.update(self._tasks[stage], completed=done, total=of or None)

    def of(self, stage: str) -> Callable[[int, int], None]:
        """What tells of one stage, called as ``(done, of)``; the stage begins now."""
        self(stage, 0, 0)
        return lambda done, of: self(stage, done, of)

    def _tell(self, what: str) -> None:
        self._console.print(f"{time.monotonic() - self._begun:6.1f} s  {what}", soft_wrap=True)

    def _still(self) -> None:
        """Tell of a stage that goes on, and how much of it is done."""
        while not self._stopped.wait(self._every_s):
            for task in self._bars.tasks[-1:]:
                is_counted = task.total is not None and task.completed < task.total
                share = f"{task.percentage:.0f} % of " if is_counted else "still "
                self._tell(share + task.description)

    def _finish(self) -> None:
        """What came before is done, whatever it last told."""
        for task in self._bars.tasks:
            whole = task.total or 1
            self._bars.update(task.id, completed=whole, total=whole)


@contextmanager
def patiently(stage: str, after_s: float = 2.0) -> Iterator[None]:
    """Tell of what is done within, a thing that knows no parts, once it has taken so long."""
    with ExitStack() as told:
        timer = threading.Timer(after_s, lambda: told.enter_context(Stages()).of(stage))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
