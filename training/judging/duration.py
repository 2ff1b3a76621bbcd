"""Whether short videos are preferred for being short: completion and watch time without duration, and who is shown."""

from collections.abc import Iterator

import numpy as np

from features.outcomes import KIND_NAMES
from features.types import BoolArray
from training.judging import metrics
from training.judging.bootstrap import Bootstrap, Difference, Rows, Sums, added, ratio
from training.judging.cohorts import DECILES, within_deciles
from training.judging.figures import OURS, Judged, Row, difference_row, row_of, sparing
from training.judging.watch import HEAD, Watch, watch_figures, with_watch

EXPOSED = (OURS, "popularity", "shortest")
WATCH_WEIGHT = 1.0
"""What a predicted percentile would count in the value, beside 4 for complete."""


def duration_rows(on: Judged, boot: Bootstrap) -> Iterator[Row]:
    """All rows of this module, as far as the heads and slices judged allow."""
    if HEAD not in on.labels.windows_ms:
        return
    if any(name.startswith("duration=") for name in on.slices):
        yield from _same_duration(on, boot)
        yield from _exposure(on, boot)
    if on.watch is not None:
        yield from _watch(on, on.watch, boot)


def _same_duration(on: Judged, boot: Bootstrap) -> Iterator[Row]:
    """GAUC of complete among rows of one slate and one duration decile, slice ``duration=same``."""
    column = list(on.labels.windows_ms).index(HEAD)
    chosen = on.mature[:, column]
    rows = Rows(within_deciles(on.slate, on.slices)[chosen], on.user[chosen])
    y, ours = on.labels.of(HEAD)[chosen], on.systems[OURS].score[chosen, column]
    for system, scores in on.systems.items():
        score = scores.score[chosen, column]
        yield sparing(row_of(system, HEAD, "all", metrics.gauc(rows, y, score, boot), "duration=same"))
        if system != OURS:
            found = metrics.paired_difference("gauc", rows, y, ours, score, boot)
            yield difference_row(system, HEAD, "all", found, "duration=same")


def _exposure(on: Judged, boot: Bootstrap) -> Iterator[Row]:
    """Of slates of two timed videos or more, the decile of the first; for ``log`` the mean share of each slate's."""
    tenth = np.zeros(len(on.user), np.int64)
    for number in range(1, DECILES + 1):
        if (held := on.slices.get(f"duration={number}")) is not None:
            tenth[held] = number
    timed = np.flatnonzero(tenth)
    _, slate, size = np.unique(on.slate[timed], return_inverse=True, return_counts=True)
    timed, slate = timed[size[slate] > 1], slate[size[slate] > 1]
    tenth, rows = tenth[timed], Rows(on.slate[timed], on.user[timed])
    share = {"log": 1.0 / size[slate]}
    for system in EXPOSED:
        if system in on.systems:
            order = np.lexsort((np.arange(len(slate)), -on.systems[system].value[timed], slate))
            share[system] = np.zeros(len(slate))
            share[system][order[np.flatnonzero(np.diff(slate[order], prepend=-1))]] = 1.0
    for system, weight in share.items():
        for number in range(1, DECILES + 1):
            inside = np.where(tenth == number, weight, 0.0)
            by_user = added(rows.user_code, rows.users, inside, weight)
            shown = Sums("exposure_share", by_user, ratio, int((inside > 0).sum()), rows.slates, 0)
            yield row_of(system, "value", "all", shown.figure(boot), f"duration={number}")


def _watch(on: Judged, watches: Watch, boot: Bootstrap) -> Iterator[Row]:
    """Predicted watch time by kind; its percentile as a score of complete, and in the value."""
    column = list(on.labels.windows_ms).index(HEAD)
    kinds: dict[str, BoolArray] = {"all": np.ones(len(on.user), np.bool_)}
    kinds |= {KIND_NAMES[code]: on.labels.kind == code for code in np.unique(on.labels.kind).tolist() if code}
    for kind, of_kind in kinds.items():
        chosen = of_kind & on.mature[:, column]
        rows = Rows(on.slate[chosen], on.user[chosen])
        for system, figure in watch_figures(rows, watches, chosen, boot):
            if isinstance(figure, Difference):
                yield difference_row(system, "watch_time", kind, figure, ours="watch_rank")
            else:
                yield row_of(system, "watch_time", kind, figure)
    yield from _in_the_value(on, watches, boot)
    mature = on.mature[:, column]
    for groups, name in ((on.slate, "all"), (within_deciles(on.slate, on.slices), "duration=same")):
        rows = Rows(groups[mature], on.user[mature])
        figure = metrics.gauc(rows, on.labels.of(HEAD)[mature], watches.percentile[mature], boot)
        yield sparing(row_of("watch_rank", HEAD, "all", figure, name))


def _in_the_value(on: Judged, watches: Watch, boot: Bootstrap) -> Iterator[Row]:
    """What the percentile would do for the gain, as a term of the value."""
    mature = on.mature.all(axis=1)
    rows, got = Rows(on.slate[mature], on.user[mature]), on.gain[mature]
    ours = on.systems[OURS].value
    more = with_watch(ours, watches.percentile, WATCH_WEIGHT)[mature]
    yield row_of("with_watch", "value", "all", metrics.ndcg(rows, got, more, boot))
    found = metrics.paired_difference("ndcg", rows, got, ours[mature], more, boot)
    yield difference_row("with_watch", "value", "all", found)
