"""How a server says what happens: a line for a person or a JSON object for a program, with no person's id in it."""

import datetime as dt
import logging
from typing import Literal

import msgspec

from serving.asked import ASKED

Format = Literal["plain", "json"]
HIDDEN = "(a person)"


class Lines(logging.Formatter):
    """One line a record, or one JSON object a line; both name the request that was being answered.

    Parameters
    ----------
    form : {"plain", "json"}
    ids : bool
        Whether the id of the person whom a request names may stand in it; else it is taken out, of tracebacks too.
    """

    def __init__(self, form: Format, *, ids: bool) -> None:
        super().__init__()
        self._form = form
        self._ids = ids

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        asked = ASKED.get()
        when = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        message, trace = record.getMessage(), self.formatException(record.exc_info) if record.exc_info else ""
        if asked.person and not self._ids:
            message, trace = (text.replace(asked.person, HIDDEN) for text in (message, trace))
        fields = {"at": when, "level": record.levelname.lower(), "logger": record.name, "message": message}
        more = {"request_id": asked.request_id, "route": asked.route, "trace": trace}
        more |= getattr(record, "fields", {})
        fields |= {name: value for name, value in more.items() if value != ""}
        if self._form == "json":
            return msgspec.json.encode(fields).decode()
        named = f" [{asked.request_id}]" if asked.request_id else ""
        said = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        return f"{when} {record.levelname} {record.name}{named}: {message}{said}" + (f"\n{trace}" if trace else "")


def write_logs(form: Format, *, ids: bool, answers: bool) -> None:
    """Send all logs of this process to standard error.

    Parameters
    ----------
    form : {"plain", "json"}
    ids : bool
        Whether they may hold ids of people.
    answers : bool
        Whether each answer is a line of its own.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(form, ids=ids))
    logging.basicConfig(handlers=[handler], level=logging.INFO if answers else logging.WARNING, force=True)
