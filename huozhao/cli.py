"""The command line: all commands, and what becomes of an error. What does them is imported when one runs."""

import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from cyclopts import App, CycloptsError, Group, MissingArgumentError, UnusedCliTokensError

from huozhao import bundle_cli, key_cli, log_cli, page_cli, policy_cli, world_cli

_WITH_PLACE = warnings.formatwarning
WRONG, UNFORESEEN, INTERRUPTED = 2, 70, 130
_FULL = "Free some space, or name a folder on another disk."
_FORBIDDEN = "See who may read and write there, or name another place."
WAYS_OUT = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "Name a folder that you may write to.",
}
"""What to do about a fault of the system's; about others, to look at the path."""


def _version() -> str:
    try:
        return version("huozhao")
    except PackageNotFoundError:
        return "from source"


app = App(
    name="huozhao",
    help="Goods find people: a ranking engine for live-commerce feeds. `huozhao demo` shows all of it.",
    help_epilogue="A home holds one data set: its log, state, policy and bundles. Without --home it is $HUOZHAO_HOME, "
    "else .huozhao. Times are ISO 8601 with their offset; a plain date is its midnight in China (+08:00).",
    version=_version,
    help_format="markdown",
)
COMMANDS: dict[str, tuple[App | Callable[..., None], ...]] = {
    "A home to begin with": (world_cli.demo, world_cli.simulate, world_cli.sources),
    "Pages": (page_cli.serve, page_cli.feed, page_cli.why, page_cli.shown),
    "Bundles": (
        bundle_cli.train,
        bundle_cli.evaluate,
        bundle_cli.report,
        bundle_cli.models,
        bundle_cli.promote,
        bundle_cli.rollback,
        bundle_cli.migrate,
        bundle_cli.replay,
    ),
    "What a home goes by": (policy_cli.policy, key_cli.keys, log_cli.log),
}
for title, commands in COMMANDS.items():
    group = Group.create_ordered(title)
    for command in commands:
        if isinstance(command, App):
            command.group = group
            app.command(command)
        else:
            app.command(command, group=group)


def _in_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as a person reads it: ours without the place in the source that it came from."""
    from features.errors import HuozhaoWarning

    if issubclass(category, HuozhaoWarning):
        return f"huozhao: {' '.join(str(message).split())}\n"
    return _WITH_PLACE(message, category, filename, lineno, line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code.

    0, or after an error told in one line 2, or 70 if nobody foresaw it; 130 if interrupted.
    """
    warnings.formatwarning = _in_a_line
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(_in_words(error), _help_of(error))
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
        what = f"{error.filename}: {why}." if error.filename else f"{why}."
        return _fail(what, WAYS_OUT.get(error.errno or 0, "Check the path."))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001, the last resort: a person is told in one line
        return _unforeseen(error)
    return 0


def _unforeseen(error: Exception) -> int:
    if "no locator available" in str(error):
        what = "The compiled kernels can be kept neither beside the program nor in a cache folder of yours."
        return _fail(what, "Set NUMBA_CACHE_DIR to a folder that you alone may write to.")
    if os.environ.get("HUOZHAO_TRACEBACK"):
        traceback.print_exception(error)
    way_out = "This is a fault of huozhao; HUOZHAO_TRACEBACK=1 shows where it happened."
    return _fail(f"{type(error).__name__}: {error}".rstrip(".: ") + ".", way_out, code=UNFORESEEN)


def _in_words(error: CycloptsError) -> str:
    match error:
        case MissingArgumentError():
            return _missing(error)
        case UnusedCliTokensError():
            command, unused = " ".join(error.command_chain or ()), " ".join(map(repr, error.unused_tokens or ()))
            return f"{command} has no place for {unused}."
        case _:
            return str(error)


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
