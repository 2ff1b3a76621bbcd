"""How every error looks from outside: which code is whose, and what of it is told."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from features.errors import (
    BundleError,
    HuozhaoError,
    LogError,
    MomentError,
    PolicyError,
    RecordError,
    RequestError,
    SurfaceError,
)
from serving.api import MEANINGS, MEDIA_TYPE, Code, Problem
from serving.asked import ASKED
from serving.keys import ForbiddenError, RateLimitedError, UnauthorizedError


class OverloadedError(HuozhaoError):
    """A request would wait past its deadline: it is turned away at once.

    ``retry_after_s`` is when to come again, in whole seconds.
    """

    def __init__(self, what: str, way_out: str, retry_after_s: int = 1) -> None:
        super().__init__(what, way_out)
        self.retry_after_s = retry_after_s


class StoppingError(HuozhaoError):
    """A request had begun when the server was told to stop, and was not answered in the time that was left."""

    def __init__(self) -> None:
        super().__init__("The drain ended before this request was answered.", "Ask again.")


class DepthError(HuozhaoError):
    """A body nests so deep that it cannot be read."""

    def __init__(self) -> None:
        super().__init__("body: nests too deep to be read.", "No request or record has more than four levels.")


class MediaTypeError(HuozhaoError):
    """A body does not say that it is JSON: a form of a foreign web page could say anything else."""


KINDS: dict[type[HuozhaoError], Code] = {
    RequestError: Code.NOT_AVAILABLE,
    SurfaceError: Code.UNKNOWN_SURFACE,
    MomentError: Code.MOMENT_FAR,
    RecordError: Code.RECORD_INVALID,
    DepthError: Code.INVALID_REQUEST,
    MediaTypeError: Code.UNSUPPORTED_MEDIA_TYPE,
    UnauthorizedError: Code.UNAUTHORIZED,
    ForbiddenError: Code.FORBIDDEN,
    RateLimitedError: Code.RATE_LIMITED,
    OverloadedError: Code.OVERLOADED,
    StoppingError: Code.STOPPING,
    LogError: Code.LOG_UNAVAILABLE,
    BundleError: Code.BUNDLE_UNAVAILABLE,
    PolicyError: Code.POLICY_UNAVAILABLE,
}
"""The code of our errors; any other error of ours is ``internal``."""

FRAMEWORK: dict[int, Code] = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.BUSY,
}
"""The code of faults that are found before a handler runs, by status; any other is ``invalid_request``."""

EMPTY = "body: is empty, and must be JSON of the form that /schema shows"
WAYS_OUT = (
    ("`array` of length <=", "Send the rest in another request."),
    ("`str` of length <=", "Shorten it."),
    ("`int` [<>]=", "Keep to the bounds that /schema names."),
    ("half of a character", "Cut texts between characters, or send that one whole."),
    ("", "See /schema for what it may be."),
)

_log = logging.getLogger(__name__)


def problem(error: Exception, where: str) -> Problem:
    """What an error looks like from outside; a fault of ours goes to the log, and tells none of its insides.

    Parameters
    ----------
    error : Exception
    where : str
        The method and the route that met it.
    """
    match error:
        case HuozhaoError():
            code = next((KINDS[kind] for kind in type(error).__mro__ if kind in KINDS), Code.INTERNAL)
            if MEANINGS[code].status < 500:
                return _problem(code, str(error))
            _log.error("%s: %s", where, error)
            return _problem(code, _hidden(code))
        case HTTPException() if error.status_code < 500:
            faults = error.extra if isinstance(error.extra, list) else []
            detail = "; ".join([error.detail, *map(_said, faults)])
            return _problem(FRAMEWORK.get(error.status_code, Code.INVALID_REQUEST), detail)
        case msgspec.DecodeError():
            return _problem(Code.INVALID_REQUEST, _body(str(error)))
        case UnicodeDecodeError():
            return _problem(Code.INVALID_REQUEST, f"The body cannot be read: {error}. Send UTF-8.")
        case RecursionError():
            return problem(DepthError(), where)
        case _:
            _log.error("%s failed", where, exc_info=error)
            return _problem(Code.INTERNAL, _hidden(Code.INTERNAL))


def headers_of(error: Exception) -> dict[str, str]:
    """What an answer to an error says beside the problem."""
    match error:
        case UnauthorizedError():
            return {"www-authenticate": "Bearer"}
        case OverloadedError() | RateLimitedError():
            return {"retry-after": str(error.retry_after_s)}
        case HTTPException() if error.status_code < 500:
            return dict(error.headers or {})
        case _:
            return {}


def _hidden(code: Code) -> str:
    """What is told of a fault of ours: its own words may name files, and stand in the log."""
    means, way_out = MEANINGS[code].means, MEANINGS[code].way_out
    return f"{means[0].upper()}{means[1:]}; {way_out}. The server's log says more."


def _problem(code: Code, detail: str) -> Problem:
    status = MEANINGS[code].status
    return Problem(status, HTTPStatus(status).phrase, detail, code)


def _said(fault: Mapping[str, str]) -> str:
    key, message = fault.get("key", ""), fault["message"]
    if key == "data":
        # The framework calls a body by the handler's argument, and an empty one by that name alone.
        return EMPTY if message == "'data'" else _body(message)
    return f"{key}: {message}" if key else message


def _body(fault: str) -> str:
    """What was wrong with a body, and the way out."""
    return f"body: {fault}. {next(way_out for named, way_out in WAYS_OUT if re.search(named, fault))}"


def answer(request: Request[None, None, State], error: Exception) -> Response[Problem]:
    """Answer what a handler or the framework raised."""
    found = problem(error, ASKED.get().route)
    return Response(found, status_code=found.status, media_type=MEDIA_TYPE, headers=headers_of(error))
