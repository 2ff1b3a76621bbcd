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
    from features.errors import LogError
    from features.logs import repair
    from huozhao.home import refuse_missing

    refuse_missing(home_of(home))
    folder = home_of(home) / "log"
    faults = repair.check(folder)
    for fault in faults:
        print(f"offset {fault.offset}: {fault.what}")
    if faults:
        places = "1 place" if len(faults) == 1 else f"{len(faults)} places"
        way_out = "Restore it from a copy, or `huozhao log repair` keeps what can be read."
        raise LogError(f"{folder} is damaged in {places}.", way_out)
    lost = repair.stretches(repair.known_lost(folder))
    for stretch in lost:
        print(f"offset {stretch}: lost, as a repair of before has found; nothing counts there.")
    print(f"{folder} is whole{' but for that' if lost else ''}.")


@log.command
def repair(*, home: Home = None) -> None:
    """Make the log whole of all that can be read; the damaged files are kept aside. Nobody may write meanwhile.

    Parameters
    ----------
    home
        The home whose log is mended.
    """
    from features.logs import repair as mending
    from huozhao.home import refuse_missing

    refuse_missing(home_of(home))
    folder = home_of(home) / "log"
    done = mending.repair(folder)
    if done is None:
        print(f"{folder} is whole; nothing was changed.")
        return
    for stretch in mending.stretches(done.lost):
        print(f"offset {stretch}: lost.")
    records = "1 record is" if len(done.lost) == 1 else f"{len(done.lost)} records are"
    print(f"{folder} is whole again: {records} lost; the files as they were are in {done.aside}.")
