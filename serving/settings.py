"""Where to serve, and from which home."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec

from features.errors import HuozhaoError
from ranking.request.sample import SHARE
from serving.keys import read
from serving.logs import Format

SNAPSHOT_RECORDS = 500_000


class SettingsError(HuozhaoError):
    """A setting is out of its range, or would open what must not be open."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to serve; each can be given as ``HUOZHAO_`` and its name, or on the command line, which wins.

    Port 0 takes any that is free. Beyond the loopback interface it is served only where the home has
    keys, or with ``allow_remote``. With
    ``durability`` relaxed a power cut may take the last records that were acknowledged; a kill takes none.
    A snapshot is taken when so many records have come since the last one, so that a start after a crash is short.
    ``shadow`` is a bundle that scores ``shadow_share`` of the pages beside the one that is served, and answers nobody.
    ``decisions`` is the share of pages whose decision is kept, so that ``huozhao why`` can make it again.
    Logs are lines for people or, with ``log_format`` json, objects for programs; with ``log_answers`` each answer is
    one; ids of people stand in them only with ``log_ids``. With ``traces`` each page is told to OpenTelemetry.
    """

    home: Annotated[str, msgspec.Meta(min_length=1)] = ".huozhao"
    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    allow_remote: bool = False
    durability: Literal["full", "relaxed"] = "full"
    snapshot_records: Annotated[int, msgspec.Meta(ge=1)] = SNAPSHOT_RECORDS
    decisions: Annotated[float, msgspec.Meta(ge=0, le=1)] = SHARE
    shadow: str = ""
    shadow_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    log_format: Format = "plain"
    log_answers: bool = False
    log_ids: bool = False
    traces: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str], given: Mapping[str, str | float | bool | None]) -> Self:
        """Settings from the environment and what was given instead; None stands for not given.

        Raises
        ------
        SettingsError
            Naming the setting.
        """
        found: dict[str, str | float | bool] = {}
        for name in cls.__struct_fields__:
            value = given.get(name)
            value = environ.get(f"HUOZHAO_{name.upper()}") if value is None else value
            if value is not None:
                found[name] = value
        try:
            return msgspec.convert(found, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{in_words(error, _as_given)}.", "See huozhao serve --help.") from error

    @property
    def folder(self) -> Path:
        """The home's folder."""
        return Path(self.home)

    def check(self) -> None:
        """Refuse to listen where others can reach, unless told so by name.

        Raises
        ------
        SettingsError
            If the host is not of the loopback interface, the home has no keys, and ``allow_remote`` is false.
        """
        if not (self.allow_remote or _is_loopback(self.host) or read(self.folder)):
            way_out = "Add one with `huozhao keys add`, or pass --allow-remote."
            raise SettingsError(f"{self.host} is not a loopback address, and the home has no keys.", way_out)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_FAULTS = (
    (r"Expected `(?:int|float)` <= (\S+)", r"must be at most \1"),
    (r"Expected `(?:int|float)` >= (\S+)", r"must be at least \1"),
    (r"Expected `str` of length <= (\d+)", r"must have at most \1 characters"),
    (r"Expected `str` of length >= 1", "must not be empty"),
    (r"Expected `int`, got .*", "must be a whole number"),
    (r"Expected `float`, got .*", "must be a number"),
    (r"Expected `bool`, got .*", "must be true or false"),
    (r"Expected `str` matching .*", "has a character that no name may have"),
)


_NO_OPTION = ("durability", "snapshot_records", "decisions")
_OPTIONS = {"shadow_share": "--share"}


def _as_given(name: str) -> str:
    """A setting as a person gives it: "--share (or HUOZHAO_SHADOW_SHARE)"."""
    variable = f"HUOZHAO_{name.upper()}"
    option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
    return variable if name in _NO_OPTION else f"{option} (or {variable})"


def in_words(error: msgspec.ValidationError, named: Callable[[str], str] = str) -> str:
    """What was wrong with a value, for a person: "count must be at most 200"; ``named`` says what its name is there."""
    fault, _, place = str(error).partition(" - at `$.")
    name = named(place.rstrip("`"))
    for pattern, words in _FAULTS:
        if place and re.fullmatch(pattern, fault):
            return f"{name} {re.sub(pattern, words, fault)}"
    return f"{name}: {fault}" if place else str(error)
