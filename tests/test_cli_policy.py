"""Policies at the command line: checked, shown, compared."""

from pathlib import Path

import pytest

from huozhao.cli import main
from ranking.policy import DEFAULT_TOML, default


def test_a_policy_is_checked_shown_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, lots = tmp_path / "home", tmp_path / "lots.toml"
    home.mkdir()
    (home / "policy.toml").write_text(DEFAULT_TOML, "utf-8")
    lots.write_text("[explore]\nrate = 0.5\n", "utf-8")
    assert main(["policy", "check", "--home", str(home)]) == 0
    assert f"is right: version {default().version}" in capsys.readouterr().out
    assert main(["policy", "show", "--home", str(home)]) == 0
    assert "[explore]" in capsys.readouterr().out
    assert main(["policy", "diff", "current", str(lots), "--home", str(home)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("1 keys differ")
    assert told[1:] == ["explore.rate: 0.0 -> 0.5"]
    assert main(["policy", "diff", "default", str(lots), "--home", str(tmp_path / "nowhere")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == told[1:]


def test_a_policy_that_is_not_right_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("[explore]\n\nrate = 2.0\n", "utf-8")
    assert main(["policy", "check", str(file), "--home", str(tmp_path)]) != 0
    said = capsys.readouterr().err
    assert "line 3" in said
    assert "explore.rate" in said


def test_a_check_tells_the_surfaces_that_are_a_policys_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.toml").write_text("[surfaces.fed]\n[surfaces.search]\n[surfaces.mall]\n", "utf-8")
    assert main(["policy", "check", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "surfaces.fed is a surface of its own, and not 'feed'.",
        "surfaces.search is a surface of its own.",
    ]


@pytest.mark.parametrize(
    ("text", "says", "not_says"),
    [
        ("a = 1\nb = = 2\n", "policy.toml: line 2, column 5: this is no TOML", "(at"),
        ("a = [1,\n", "This is no TOML", "Mend that line"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place_where_it_has_one(
    text: str, says: str, not_says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_text(text, "utf-8")
    assert main(["policy", "check", "--home", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert not_says not in said


def test_the_default_policy_of_a_path_without_one_is_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for home, why in ((tmp_path / "nowhere", "nowhere is not a home"), (tmp_path, "there is no ")):
        assert main(["policy", "show", "--home", str(home)]) == 0
        said = capsys.readouterr()
        assert why in said.err
        assert "this is the default policy" in said.err
        assert default().version in said.out
    (tmp_path / "policy.toml").write_text(DEFAULT_TOML, "utf-8")
    assert main(["policy", "show", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
