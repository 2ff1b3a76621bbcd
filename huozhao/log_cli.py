"""The commands that look after a log: ``log check`` and ``log repair``."""

from cyclopts import App

from huozhao.options import Home, home_of

log = App(name="log", help="Look whether a home's log is whole, and mend it.")


@log.command
def check(*, home: Home = None) -> None:
    """Read all of the log and say what is damaged, by offset.

    Parameters
    ----------
    home
        The home whose log is read.
    """
    from features import repair
    from features.errors import LogError

    folder = home_of(home) / "log"
    faults = repair.check(folder)
    for fault in faults:
        print(f"offset {fault.offset}: {fault.what}")
    if faults:
        raise LogError(f"{folder} is damaged in {len(faults)} places.", "`huozhao log repair` keeps what can be read.")
    print(f"{folder} is whole.")


@log.command
def repair(*, home: Home = None) -> None:
    """Make the log whole of all that can be read; the damaged files are kept aside. Nobody may write meanwhile.

    Parameters
    ----------
    home
        The home whose log is mended.
    """
    from features import repair as mending

    folder = home_of(home) / "log"
    done = mending.repair(folder)
    if done is None:
        print(f"{folder} is whole; nothing was changed.")
    else:
        print(
            f"{folder} is whole again: {len(done.lost)} records are lost; the files as they were are in {done.aside}."
        )
