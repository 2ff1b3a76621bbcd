"""The commands that make a home of a simulated world or of public data, or try policies in worlds."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from huozhao.options import Flag, Home, Seed, home_of

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
