"""What tests type at the command line, and what they are told."""

import msgspec
import pytest

from huozhao.cli import main
from ranking.api import Feed


def fault(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command fails with."""
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("huozhao: ")
    assert not any("Traceback" in line for line in said)
    return said[-1]


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> Feed:
    capsys.readouterr()
    assert main(["feed", *arguments, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=Feed)
