"""Policies side by side: what the page and the pictures say of worlds that were lived through."""

from html import escape
from pathlib import Path

import numpy as np
import pytest

from huozhao.cli import main
from huozhao.tale import cost, side_by_side, write_pictures, write_tale
from training.loops.bubble import FIGURES, OF_A_PERSON
from training.loops.trial import FEWS, Lived


def lived(name: str, more: float) -> list[Lived]:
    return [
        Lived(
            *(name, {figure: np.arange(3.0) + seed + more for figure in FIGURES}, dict.fromkeys(FEWS, 0.5), 4, 9),
            {f"u{n}": dict.fromkeys(OF_A_PERSON, n + 10 * seed + more) for n in range(10)},
        )
        for seed in range(2)
    ]


def test_the_page_stands_alone_and_shows_every_figure_of_every_policy(tmp_path: Path) -> None:
    page = write_tale(tmp_path, {"now": lived("now", 0), "<then>": lived("<then>", 1)}, 3, 40).read_text("utf-8")
    assert page.count("<svg") == len(FIGURES)
    assert all(escape(words) in page for words in FIGURES.values())
    assert "&lt;then&gt; − now" in page
    assert "<then>" not in page
    assert "2 simulated worlds of 40 people" in page
    assert "src=" not in page
    # Means of days 2 and 3 over worlds of 0 and 1: 1.5 and 2.5; the difference is 1 in each world.
    assert "2 ± 6.4" in page
    assert "1 ± 0" in page
    # People are 0 to 19 there.
    assert page.count("1.9 · 9.5 · 17.1") == len(OF_A_PERSON)
    assert all(text in page for text in ("bits", "1 − cosine", "cost in gain, %", "cost in expected gain, %"))


def test_policies_are_told_side_by_side_in_text_with_what_they_cost() -> None:
    tales = {"now": lived("now", 1), "then": lived("then", 0)}
    text = side_by_side(tales)
    assert all(words in text for words in FIGURES.values())
    assert text.splitlines()[0].split() == ["now", "then"]
    assert "(-1 ± 0)" in text
    # Means of days 2 and 3 are 2.5 and 3.5, the other's 1.5 and 2.5.
    assert cost(tales["then"], tales["now"]).tolist() == pytest.approx([100 / 2.5, 100 / 3.5])
    assert any(line.startswith("cost in gain") and "34.3 ± " in line for line in text.splitlines())
    assert "cost" not in side_by_side({"now": tales["now"]})


def test_the_table_in_text_fits_into_100_columns_however_many_policies_there_are() -> None:
    names = ["default", "a-policy-of-a-very-long-name", *(f"p{n}" for n in range(5))]
    text = side_by_side({name: lived(name, n) for n, name in enumerate(names)})
    assert max(map(len, text.splitlines())) <= 100
    tables = text.split("\n\n")
    assert [table.split("\n")[0].split() for table in tables] == [
        ["default", "a-policy-of-a-ver…", "p0", "p1"],
        ["default", "p2", "p3", "p4"],
    ]


def test_pictures_are_drawn_where_they_can_be(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_pictures(tmp_path, {"now": lived("now", 0)})
    assert {path.stem for path in tmp_path.glob("*.png")} == set(FIGURES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "nowhere.toml"], "there is no file 'nowhere.toml'"),
        (["--policy", "default", "--users", "3"], "--users: 3"),
        (["--policy", "default", "--policy", "default"], "one name"),
    ],
)
def test_what_cannot_be_tried_is_refused_by_name(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["simulate", *options, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
