"""The commands that say who may ask a server for what."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from huozhao.options import Home, home_of

keys = App(name="keys", help="Add, list or revoke the keys that a server asks for.")


@keys.command
def add(
    name: str,
    /,
    *,
    home: Home = None,
    scope: Annotated[tuple[str, ...], Parameter(negative=(), show_default=", ".join)] = ("read",),
    per_second: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
) -> None:
    """Make a key and print it, this once; from the first on the home's server asks for one, within a second.

    Parameters
    ----------
    name
        What logs and messages call it.
    home
        The home that is served.
    scope
        read (pages), events (what people did), catalog (items and people) or admin (all); may be given several times.
    per_second
        How often it may ask, at most; 0 for as often as it likes.
    """
    from huozhao import keys as of_home

    of_home.add(home_of(home), name, scope, per_second)


@keys.command(name="list")
def show(*, home: Home = None) -> None:
    """List the names of keys, what they may do and how often.

    Parameters
    ----------
    home
        The home that is served.
    """
    from huozhao import keys as of_home

    of_home.show(home_of(home))


@keys.command
def revoke(name: str, /, *, home: Home = None) -> None:
    """Take a key back; the server refuses it within a second.

    Parameters
    ----------
    name
        Of the key.
    home
        The home that is served.
    """
    from huozhao import keys as of_home

    of_home.revoke(home_of(home), name)
