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
            message, trace = (_without(asked.person, text) for text in (message, trace))
        fields = {"at": when, "level": record.levelname.lower(), "logger": record.name, "message": message}
        more = {"request_id": asked.request_id, "route": asked.route, "trace": trace}
        more |= getattr(record, "fields", {})
        fields |= {name: value for name, value in more.items() if value != ""}
        if self._form == "json":
            return msgspec.json.encode(fields).decode()
        named = f" [{asked.request_id}]" if asked.request_id else ""
        said = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        return _on_one_line(f"{when} {record.levelname} {record.name}{named}: {message}{said}") + _indented(trace)


def _without(person: str, text: str) -> str:
    """A text without a person's id: as it is, and as Python and JSON write it."""
    for form in (person, repr(person)[1:-1], msgspec.json.encode(person).decode()[1:-1]):
        text = text.replace(form, HIDDEN)
    return text


def _on_one_line(text: str) -> str:
    """A text that ends no line and moves no cursor: what a client sent may stand in it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _indented(trace: str) -> str:
    """A traceback below its line, none of its own like a line of the log."""
    return "".join(f"\n    {_on_one_line(line)}" for line in trace.split("\n")) if trace else ""


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
