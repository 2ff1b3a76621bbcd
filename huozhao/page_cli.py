"""The commands that serve pages, print one, and say why one was as it was."""

from typing import Annotated, Literal

from cyclopts import Parameter

from huozhao.options import Flag, Home, home_of


def serve(
    *,
    home: Home = None,
    host: str | None = None,
    port: int | None = None,
    allow_remote: Annotated[bool | None, Parameter(negative=())] = None,
    shadow: str | None = None,
    share: float | None = None,
    log_format: Literal["plain", "json"] | None = None,
    log_answers: Annotated[bool | None, Parameter(negative=())] = None,
    log_ids: Annotated[bool | None, Parameter(negative=())] = None,
    traces: Annotated[bool | None, Parameter(negative=())] = None,
) -> None:
    """Serve a home over HTTP until stopped; the contract is at /schema, figures for Prometheus at /metrics.

    Parameters
    ----------
    home
        The home to serve; one process at a time writes to it.
    host
        $HUOZHAO_HOST if not given, else 127.0.0.1.
    port
        $HUOZHAO_PORT if not given, else 8000; 0 takes any that is free.
    allow_remote
        Listen beyond this machine although the home has no keys.
    shadow
        A bundle of the same layout that scores some pages beside the one that is served; `huozhao models` tells how far
        it agrees. $HUOZHAO_SHADOW if not given.
    share
        Of how many pages; $HUOZHAO_SHADOW_SHARE if not given, else 0.05.
    log_format
        Lines for people (plain) or JSON objects; $HUOZHAO_LOG_FORMAT if not given, else plain.
    log_answers
        Log each answer: its route, its status, its milliseconds.
    log_ids
        Let ids of people stand in the log.
    traces
        Tell each page and its stages to OpenTelemetry; needs the extra of that name.
    """
    from huozhao import commands

    given = {"host": host, "port": port, "allow_remote": allow_remote, "shadow": shadow, "shadow_share": share}
    said = {"log_format": log_format, "log_answers": log_answers, "log_ids": log_ids, "traces": traces}
    commands.serve(home_of(home), given | said)


def feed(
    user: str,
    /,
    *,
    home: Home = None,
    json: Flag = False,
    count: int = 20,
    surface: str = "feed",
    now: str | None = None,
) -> None:
    """Print one person's page: what is in it, what each item's value is made of, and what found it.

    Parameters
    ----------
    user
        The person's id; one who is not known gets what is popular and new.
    home
        The home to rank from; it is only read.
    json
        Print what POST /v1/feed would answer.
    count
        How long the page is.
    surface
        feed, plaza or mall, or another of the policy's.
    now
        As of when. If not given: the clock's now, or, if the log ended more than a day ago, right after its last
        record.
    """
    from huozhao import commands

    commands.feed(home_of(home), user, json=json, count=count, surface=surface, now=now)


def shown(*, home: Home = None, since: str | None = None, until: str | None = None, json: Flag = False) -> None:
    """Say whom the pages of a home showed: how evenly, what is new, merchants, and beyond followers.

    Parameters
    ----------
    home
        The home that served them; it is only read.
    since
        Pages asked for from then on; the first, if not given.
    until
        Nothing received from then on; the log's end, if not given.
    json
        Print the figures as JSON.
    """
    from huozhao import commands

    commands.shown(home_of(home), since=since, until=until, json=json)


def why(
    request_id: str,
    /,
    *,
    home: Home = None,
    bundle: str = "",
    all: Flag = False,  # noqa: A002
    json: Flag = False,
) -> None:
    """Decide a page that was served once more, and say what became of each candidate and why.

    Parameters
    ----------
    request_id
        The page, as its answer named it.
    home
        The home that served it; it is only read.
    bundle
        Let another bundle decide the same candidates, and show the difference: a version, or as many of its first
        digits as no other has, or current.
    all
        Show every candidate instead of the first ones that did not come on the page.
    json
        Print the whole account, features included, as GET /v1/feeds would answer.
    """
    from huozhao import why as whys

    whys.why(home_of(home), request_id, bundle=bundle, show_all=all, json=json)
