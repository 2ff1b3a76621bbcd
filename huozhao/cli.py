"""The commands and their options; ``commands``, which does them, is imported when one runs: ``--help`` is quick."""

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter
from cyclopts.validators import Number

from huozhao import bundle_cli, key_cli, log_cli, policy_cli
from huozhao.options import Home, Seed, home_of

WRONG, UNFORESEEN, INTERRUPTED = 2, 70, 130


def _version() -> str:
    try:
        return version("huozhao")
    except PackageNotFoundError:
        return "from source"


app = App(
    name="huozhao",
    help="Goods find people: a ranking engine for live-commerce feeds.",
    help_epilogue="A home holds one data set: its log, state, policy and bundles. Without --home it is $HUOZHAO_HOME, "
    "else .huozhao. Times are ISO 8601 with their offset; a plain date is its midnight in China (+08:00).",
    version=_version,
    help_format="plaintext",
)
sources = App(name="import", help="Make a home of a public data set.")
app.command(sources)
app.command(log_cli.log)
app.command(bundle_cli.models)
for command in (bundle_cli.train, bundle_cli.report, bundle_cli.promote, bundle_cli.rollback, bundle_cli.migrate):
    app.command(command)
app.command(policy_cli.policy)

app.command(key_cli.keys)


@app.command
def demo(*, home: Home = None, once: Annotated[bool, Parameter(negative=())] = False, port: int = 8000) -> None:
    """Build a small world that lives now, train on it, print three people's feeds and serve them.

    Parameters
    ----------
    home
        Where to build it; .huozhao/demo if not given. Built anew on another day.
    once
        Stop after the feeds are printed.
    port
        Where to serve, on 127.0.0.1; 0 takes any that is free.
    """
    from huozhao.demo import demo

    demo(home or Path(".huozhao/demo"), once=once, port=port)


@sources.command
def kuairand(folder: Path, /, *, home: Home = None) -> None:
    """Read the files of KuaiRand-Pure in a folder, CSV or Parquet, into a home of their own.

    Parameters
    ----------
    folder
        The folder with the log, user and video files.
    home
        The home to make.
    """
    from huozhao import commands

    commands.import_kuairand(home_of(home), folder)


@app.command
def simulate(
    *,
    home: Home = None,
    users: int | None = None,
    days: int | None = None,
    seed: Seed = 0,
    start: str | None = None,
    policy: list[str] | None = None,
    seeds: int = 2,
    retrain: int = 0,
    out: Path = Path("simulation"),
) -> None:
    """Write the log of a simulated world of live commerce, up to now, into a home of its own; or try policies in it.

    With --policy, once or more, no home is made: each policy lives through the same days of the same worlds and learns
    from what it shows, and the folder --out gets a page, its figures as JSON, and pictures, side by side. Progress
    says how far it is.

    Parameters
    ----------
    home
        The home to make.
    users
        How many people live in it; hosts, videos and products grow with them. 3300; with --policy 40.
    days
        How many days it lasts; on the third is the campaign. Without --start the last one is today, until now. 5; with
        --policy 14, after three days of the world's own log that every policy begins with.
    seed
        The same seed gives the same world.
    start
        Its first day, for a world of the past.
    policy
        A policy.toml to try, or `default`.
    seeds
        In how many worlds policies are tried; with two or more the page gives intervals.
    retrain
        Train anew after so many days, 0 never: 1 is daily.
    out
        The folder to write to, where policies are tried.
    """
    if policy:
        from huozhao.simulation import Plan
        from huozhao.simulation import simulate as try_policies

        try_policies(policy, out, Plan(14 if days is None else days, 40 if users is None else users, seeds, retrain))
        return
    from huozhao import commands

    commands.simulate(
        home_of(home), users=3300 if users is None else users, days=5 if days is None else days, seed=seed, start=start
    )


@app.command
def replay(
    file: Path, /, *, home: Home = None, since: str | None = None, until: str | None = None, seed: Seed = 0
) -> None:
    """Turn the log into a training table: what was known at every impression's moment, and what became of it.

    Categories are texts. An outcome is null while its whole window is open, also where `train` cuts windows to fit a
    short log.

    Parameters
    ----------
    file
        The Parquet file to write.
    home
        The home whose log is read.
    since
        Leave out impressions received before.
    until
        Use nothing received from then on.
    seed
        Of the factors.
    """
    from huozhao import commands

    commands.replay(home_of(home), file, since=since, until=until, seed=seed)


@app.command
def evaluate(
    *,
    home: Home = None,
    since: str | None = None,
    until: str | None = None,
    baselines: Annotated[bool, Parameter(negative=())] = False,
    rolling: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    retrieval: Annotated[bool, Parameter(negative=())] = False,
    json: Path | None = None,
) -> None:
    """Judge the current bundle on impressions that came after its training, beside baselines, with intervals.

    Parameters
    ----------
    home
        The home whose log and bundle are judged.
    since
        Judge impressions received from then on; the end of the training, if not given.
    until
        Judge impressions received before; the log's end, if not given.
    baselines
        Put chance, popularity, item-kNN, iALS, a factorisation machine, LightGBM on static features, LambdaMART and
        others beside ours, look into slices, and judge calibration and watch time.
    rolling
        Judge training itself on so many last days: each by a bundle that learned from the days before it, pooled,
        beside baselines. Needs no bundle and keeps none; --since and --until are not for it. Days that are judged are
        kept in the home's `rolling` folder: a run that was stopped goes on from them.
    retrieval
        Judge what the policy's sources find of what people turned out to want, beside popularity, item-kNN, iALS and
        EASE.
    json
        Also write every figure to this file.
    """
    from huozhao import commands

    commands.evaluate(
        home_of(home),
        since=since,
        until=until,
        baselines=baselines,
        rolling=rolling,
        retrieval=retrieval,
        json=json,
    )


@app.command
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


@app.command
def feed(
    user: str,
    /,
    *,
    home: Home = None,
    json: Annotated[bool, Parameter(negative=())] = False,
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


@app.command
def why(
    request_id: str,
    /,
    *,
    home: Home = None,
    bundle: str = "",
    all: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002
    json: Annotated[bool, Parameter(negative=())] = False,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    0, or after an error told in one line 2, or 70 if nobody foresaw it; 130 if interrupted.
    """
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(_missing(error) if isinstance(error, MissingArgumentError) else str(error), _help_of(error))
    if command in (app.help_print, app.version_print):
        command(*bound.args, **bound.kwargs)
        return 0
    return _run(lambda: command(*bound.args, **bound.kwargs))


def _run(command: Callable[[], object]) -> int:
    from features.errors import HuozhaoError

    try:
        command()
    except HuozhaoError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever reads has read enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # Where Python knows the file, its message has it twice.
        why = error.strerror or str(error)
        return _fail(f"{error.filename}: {why}." if error.filename else f"{why}.", "Check the path.")
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, the last resort: a person is told in one line
        return _unforeseen(error)
    return 0


def _unforeseen(error: Exception) -> int:
    if os.environ.get("HUOZHAO_TRACEBACK"):
        traceback.print_exception(error)
    way_out = "This is a fault of huozhao; HUOZHAO_TRACEBACK=1 shows where it happened."
    return _fail(f"{type(error).__name__}: {error}".rstrip(".: ") + ".", way_out, code=UNFORESEEN)


def _missing(error: MissingArgumentError) -> str:
    """What is missing, as ``USER`` where it has no name on the command line."""
    if error.argument is None or error.argument.tokens or error.keyword:
        return str(error)
    wanted = error.argument
    name = wanted.name if not wanted.field_info.is_positional else wanted.name.removeprefix("--").upper()
    command = " ".join(error.command_chain or ())
    return f"{command} needs {name}, as in `huozhao {command} {name}`."


def _help_of(error: CycloptsError) -> str:
    return f"See {' '.join(('huozhao', *(error.command_chain or ()), '--help'))}."


def _fail(what: str, way_out: str = "", code: int = WRONG) -> int:
    # The system's own words for a file repeat its path, and a number that tells a person nothing.
    what = re.sub(r"\[Errno \d+\] ([^:]+): '[^']*'", r"\1", what)
    line = " ".join(f"{what} {way_out}".split())
    print(f"huozhao: {line}", file=sys.stderr)
    return code
