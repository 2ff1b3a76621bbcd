"""Why a page was as it was: its decision, made once more, as a table or as JSON."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from huozhao import home as homes
from huozhao import show
from huozhao.stages import Stages
from huozhao.times import iso
from ranking.bundles.versions import find
from ranking.replay.account import Account, Change, Considered, Other
from ranking.replay.re_decide import re_decide

RUNNERS_UP = 10
"""So many candidates that did not come on the page are shown, the best by value."""
VERDICTS = {
    "equal": ("The page comes out again as it was served, scores to the last bit.", "green"),
    "differs": ("The page does not come out again as it was served.", "red"),
    "unknown": ("Whether the page comes out again cannot be said.", "yellow"),
}


def why(home: Path, request_id: str, *, bundle: str, show_all: bool, json: bool) -> None:
    """Print the account of a page."""
    homes.refuse_missing(home)
    other = find(home / "bundles", bundle) if bundle else ""
    with Stages() as stages:
        account = re_decide(home, request_id, other, progress=stages.of("folding the log to the page's moment"))
    if json:
        print(msgspec.json.format(msgspec.json.encode(account)).decode())
    else:
        show.console().print(account_table(account, None if show_all else RUNNERS_UP))


def account_table(account: Account, runners_up: int | None = RUNNERS_UP) -> RenderableType:
    """Whether it is the same page, every candidate with what became of it, and what another bundle would change."""
    told, colour = VERDICTS[account.verdict]
    lines: list[RenderableType] = [Text(told, colour), *(Text(note, "yellow") for note in account.notes)]
    if account.level != "full" or account.degraded:
        because = f", because of: {account.degraded}" if account.degraded else ""
        lines.append(Text(f"It was made on the rung `{account.level}`{because}.", "yellow"))
    page = [one for one in account.candidates if one.slot is not None]
    rest = [one for one in account.candidates if one.slot is None and not one.dropped]
    fallen = [one for one in account.candidates if one.slot is None and one.dropped]
    lines.append(_candidates([*page, *rest[:runners_up], *fallen[:runners_up]]))
    left = len(account.candidates) - len(page) - len(rest[:runners_up]) - len(fallen[:runners_up])
    lines.append(Text(_under(account, left), "dim"))
    if account.other:
        lines += ["", _other(account.other)]
    return Group(*lines)


def _under(account: Account, left: int) -> str:
    parts = [
        f"user {account.user_id}" if account.user_id else "nobody known",
        account.context.surface,
        f"{iso(account.now_ms)}, offset {account.read_offset}",
        f"bundle {account.bundle}",
        f"policy {account.policy}",
    ]
    if account.dropped:
        parts.append("dropped: " + ", ".join(f"{reason} {count}" for reason, count in account.dropped.items()))
    if account.relaxed:
        parts.append("bounds that gave way: " + ", ".join(account.relaxed))
    if left:
        parts.append(f"{left} more candidates with --all")
    parts.append("features, heads and every term of each with --json")
    return " · ".join(parts)


def _candidates(candidates: Sequence[Considered]) -> RenderableType:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for name in ("slot", "by\nvalue", "re-\nranked"):
        table.add_column(name, justify="right", no_wrap=True)
    # Where it is narrow these break into lines: a column that may not be broken is cut off, and its figures with it.
    table.add_column("title or id", overflow="fold", max_width=28)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("top terms", overflow="fold")
    table.add_column("source", style="dim", no_wrap=True)
    table.add_column("chance", justify="right", style="dim", no_wrap=True)
    table.add_column("dropped", style="yellow", overflow="fold")
    for one in candidates:
        # A title is another's text: no markup is read in it.
        table.add_row(
            _number(one.slot),
            _number(one.place),
            _number(one.reranked),
            Text(one.title or one.item_id),
            "" if one.value is None else f"{one.value:.3f}",
            show.top_terms(one.terms),
            one.source,
            "" if one.propensity == 1 else f"{one.propensity:.3f}",
            one.dropped,
        )
    return table


def _number(place: int | None) -> str:
    """A place as people count, from 1."""
    return "" if place is None else str(place + 1)


def _other(other: Other) -> RenderableType:
    counts = {what: sum(one.what == what for one in other.changes) for what in ("enters", "leaves", "moves", "stays")}
    title = ", ".join(f"{count} {what}" for what, count in counts.items())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "slot", "item", "value"):
        table.add_column(name, no_wrap=name != "item", overflow="fold")
    table.add_column("terms that differ", overflow="fold")
    for one in sorted(other.changes, key=lambda one: (one.slot[1] is None, one.slot[1] or 0, one.slot[0] or 0)):
        slots = " → ".join(_number(slot) or "–" for slot in one.slot)
        table.add_row(one.what, slots, Text(one.item_id), _pair(one.value), _terms(one))
    bounds = f"; bounds that gave way: {', '.join(other.relaxed)}" if other.relaxed else ""
    return Group(Text(f"With bundle {other.bundle}, the same candidates: {title}{bounds}."), table)


def _pair(values: tuple[float | None, float | None]) -> str:
    return " → ".join("–" if value is None else f"{value:.3f}" for value in values)


def _terms(change: Change) -> str:
    return "  ".join(f"{name} {_pair(pair)}" for name, pair in change.terms.items() if pair[0] != pair[1])
