"""A log is checked and repaired from the command line."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from features.logs.live import HomeLog
from huozhao.cli import main
from tests.features.test_durability import DAY, like


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with HomeLog(tmp_path / "home" / "log", writer=True) as log:
        log.append([like(n) for n in range(9)], DAY)
    return tmp_path / "home"


def test_a_log_is_checked_repaired_and_whole_but_for_what_was_lost(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "check", "--home", str(home)]) == 0
    assert capsys.readouterr().out == f"{home}/log is whole.\n"
    with closing(sqlite3.connect(home / "log" / "live.sqlite")) as live, live:
        live.execute("UPDATE records SET body = 'x' WHERE offset = 3")
    assert main(["log", "check", "--home", str(home)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("offset 3: ")
    assert "damaged in 1 place. Restore it from a copy, or `huozhao log repair`" in said.err
    with closing(sqlite3.connect(home / "log" / "live.sqlite")) as live, live:
        live.execute("UPDATE records SET body = 'x' WHERE offset IN (4, 6)")
    assert main(["log", "check", "--home", str(home)]) == 2
    assert "damaged in 3 places." in capsys.readouterr().err
    assert main(["log", "repair", "--home", str(home)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["offset 3 to 4: lost.", "offset 6: lost."]
    assert "is whole again: 3 records are lost" in told[2]
    assert main(["log", "check", "--home", str(home)]) == 0
    known = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in known[:2]] == ["offset 3 to 4", "offset 6"]
    assert known[2] == f"{home}/log is whole but for that."
    assert main(["log", "repair", "--home", str(home)]) == 0
    assert "nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "repair"])
def test_a_path_that_is_no_home_is_called_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", command, "--home", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not a home" in capsys.readouterr().err


def test_a_live_part_that_cannot_be_opened_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden(_path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr("features.logs.rows.reader", forbidden)
    assert main(["log", "check", "--home", str(home)]) == 2
    assert f"{home}/log/live.sqlite: unable to open database file" in capsys.readouterr().err
