"""The commands that check, show and compare policies; ``policies`` does what they say."""

from pathlib import Path

from cyclopts import App

from huozhao.options import Home, home_of

policy = App(name="policy", help="Check policy.toml, show what is in force, or compare two policies.")


@policy.command
def check(file: Path | None = None, /, *, home: Home = None) -> None:
    """Say whether a policy can be served; a mistake is told with its line and key.

    Parameters
    ----------
    file
        The file to check; the home's policy.toml, if not given.
    home
        The home whose policy it is.
    """
    from huozhao import policies

    policies.check(home_of(home), file)


@policy.command
def show(version: str = "current", /, *, home: Home = None) -> None:
    """Print a policy with every key, and when it was in force.

    Parameters
    ----------
    version
        current, file for policy.toml as it stands, default, or a version, or as many of its first digits as no other
        has.
    home
        The home whose policy it is.
    """
    from huozhao import policies

    policies.show(home_of(home), version)


@policy.command
def diff(before: str = "current", after: str = "file", /, *, home: Home = None) -> None:
    """Compare two policies, key by key; without names, what a server would take up.

    Parameters
    ----------
    before
        As for show, or a file that ends in .toml.
    after
        The other one.
    home
        The home whose policies they are.
    """
    from huozhao import policies

    policies.diff(home_of(home), before, after)
