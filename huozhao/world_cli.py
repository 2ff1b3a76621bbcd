"""The commands that make a home of a simulated world or of public data, or try policies in worlds."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from huozhao.options import Flag, Home, Seed, home_of, refuse_given

sources = App(name="import", help="Make a home of a public data set.")


def demo(
    *, home: Home = None, once: Flag = False, port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000
) -> None:
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


def simulate(
    *,
    home: Home = None,
    users: int | None = None,
    days: int | None = None,
    seed: Seed = 0,
    start: str | None = None,
    policy: Annotated[list[str] | None, Parameter(negative=())] = None,
    seeds: int | None = None,
    retrain: int | None = None,
    out: Path | None = None,
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
        With --policy: in how many worlds, 2 if not given; with two or more the page gives intervals.
    retrain
        With --policy: train anew after so many days, 1 daily; never, if not given or 0.
    out
        With --policy: the folder to write to; simulation, if not given.
    """
    from huozhao import commands, simulation

    if policy:
        refuse_given("with --policy, which makes no home", home=home, start=start, seed=seed or None)
        plan = simulation.Plan(_or(days, 14), _or(users, 40), _or(seeds, 2), _or(retrain, 0))
        simulation.simulate(policy, out or Path("simulation"), plan)
        return
    refuse_given("without --policy", seeds=seeds, retrain=retrain, out=out)
    commands.simulate(home_of(home), users=_or(users, 3300), days=_or(days, 5), seed=seed, start=start)


def _or(given: int | None, usual: int) -> int:
    return usual if given is None else given
