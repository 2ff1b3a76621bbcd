"""How every error looks from outside: one shape (RFC 9457), one table of status and code."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec

from features.errors import BundleError, HuozhaoError, LogError, MomentError, PolicyError, RecordError, RequestError
from serving.keys import ForbiddenError, RateLimitedError, UnauthorizedError


class OverloadedError(HuozhaoError):
    """A request would wait past its deadline: it is turned away at once.

    ``retry_after_s`` is when to come again, in whole seconds.
    """

    def __init__(self, what: str, way_out: str, retry_after_s: int = 1) -> None:
        super().__init__(what, way_out)
        self.retry_after_s = retry_after_s


CODES: dict[type[HuozhaoError], tuple[int, str]] = {
    RequestError: (404, "not_available"),
    MomentError: (422, "moment_far"),
    RecordError: (422, "record_invalid"),
    UnauthorizedError: (401, "unauthorized"),
    ForbiddenError: (403, "forbidden"),
    RateLimitedError: (429, "rate_limited"),
    OverloadedError: (429, "overloaded"),
    LogError: (503, "log_unavailable"),
    BundleError: (503, "bundle_unavailable"),
    PolicyError: (503, "policy_unavailable"),
}
"""Status and code of our errors; a code never changes its meaning. Any other error of ours is ``internal``."""

STATUS_CODES: dict[int, str] = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "busy",
}
"""Codes of faults that are found before a handler runs; any other is ``invalid_request`` or ``internal``."""

MEDIA_TYPE = "application/problem+json"
EMPTY = "body: is empty, and must be JSON of the form that /schema shows"

_log = logging.getLogger(__name__)


class Problem(msgspec.Struct, frozen=True):
    """What was wrong; ``code`` is stable and meant for programs, ``detail`` for people."""

    status: int
    title: str
    detail: str
    code: str
    type: str = "about:blank"


PROBLEMS = {
    status: ResponseSpec(Problem, description=text, media_type=MEDIA_TYPE, generate_examples=False)
    for status, text in (
        (400, "Not of this contract."),
        (401, "No key that is known, where keys are asked for."),
        (403, "A key that may not do this."),
        (404, "Not there."),
        (429, "Too much is asked now; come again after Retry-After."),
        (503, "Records cannot be kept now."),
    )
}
"""What any handler may answer instead, for the contract."""


def problem(error: Exception, where: str) -> Problem:
    """What an error looks like from outside; a fault of ours goes to the log, and tells none of its insides.

    Parameters
    ----------
    error : Exception
    where : str
        The method and path that met it.
    """
    match error:
        case HuozhaoError():
            status, code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), (500, "internal"))
            if status >= 500:
                _log.error("%s: %s", where, error)
            return _problem(status, code, str(error))
        case HTTPException() if error.status_code < 500:
            status = error.status_code
            faults = error.extra if isinstance(error.extra, list) else []
            detail = "; ".join([error.detail, *map(_said, faults)])
            return _problem(status, STATUS_CODES.get(status, "invalid_request"), detail)
        case msgspec.DecodeError():
            return _problem(400, "invalid_request", f"body: {error}")
        case RecursionError() | UnicodeDecodeError():
            # It nests deeper than any record does, or is no text.
            return _problem(400, "invalid_request", f"The body cannot be read: {error}.")
        case _:
            _log.error("%s failed", where, exc_info=error)
            return _problem(500, "internal", "The server failed; its log says how.")


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


def _problem(status: int, code: str, detail: str) -> Problem:
    return Problem(status, HTTPStatus(status).phrase, detail, code)


def _said(fault: Mapping[str, str]) -> str:
    key, message = fault.get("key", ""), fault["message"]
    if key == "data":
        # The framework calls a body by the handler's argument, and an empty one by that name alone.
        return EMPTY if message == "'data'" else f"body: {message}"
    return f"{key}: {message}" if key else message


def answer(request: Request[None, None, State], error: Exception) -> Response[Problem]:
    """Answer what a handler or the framework raised."""
    found = problem(error, f"{request.method} {request.url.path}")
    return Response(found, status_code=found.status, media_type=MEDIA_TYPE, headers=headers_of(error))
