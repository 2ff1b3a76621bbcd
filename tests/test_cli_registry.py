"""A registry with something damaged in it, as the command line tells it and mends it."""

from dataclasses import replace
from pathlib import Path

import pytest

from huozhao.cli import main
from ranking.bundles.attached import attach
from ranking.bundles.bundle import save
from ranking.bundles.pointer import current
from ranking.bundles.versions import versions_of
from ranking.value import Weights
from tests.small_home import NOW, bundle
from training import registry


@pytest.fixture
def home(home: Path) -> Path:
    """The small home after two promotions."""
    bundles = home / "bundles"
    first = registry.current_version(bundles)
    second = save(replace(bundle(), weights=Weights(complete=5.0)), bundles, {}).name
    for turn, version in enumerate((first, second)):
        registry.promote(bundles, version, NOW + turn, how="by hand", reason="")
    return home


def said(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments, "--home", str(home)]) == 0
    return capsys.readouterr().out


def test_what_is_damaged_is_listed_by_name_among_all_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = registry.current_version(home / "bundles")
    (old,) = (version for version in versions_of(home / "bundles") if version != new)
    attach(home / "bundles" / old, {"metrics.json": b"{}"})
    for file, text in (("metrics.json", b"{"), ("attached.json", b"[")):
        (home / "bundles" / old / file).write_bytes(text)
        capsys.readouterr()
        assert main(["models", "--no-check", "--home", str(home)]) == 2
        heard = capsys.readouterr()
        assert f"→ {new}" in heard.out
        assert f"  {old}" in heard.out
        assert f"Damaged beside bundle {old}" in heard.err
        assert file in heard.err
        assert "report" in heard.err


@pytest.mark.parametrize("text", ['{"version": "de', '{"version": "deadbeef0000"}'])
@pytest.mark.parametrize("way_out", ["promote", "rollback"])
def test_a_pointer_to_nothing_is_told_and_promotions_are_the_way_out(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, way_out: str
) -> None:
    new = registry.current_version(home / "bundles")
    (home / "bundles" / "current.json").write_text(text, "utf-8")
    capsys.readouterr()
    assert main(["models", "--no-check", "--home", str(home)]) == 2
    heard = capsys.readouterr()
    assert new in heard.out
    assert "→" not in heard.out
    assert "No bundle is current: " in heard.err
    assert "current.json" in heard.err
    assert "`huozhao promote VERSION`" in heard.err
    said(capsys, home, *((way_out, new) if way_out == "promote" else (way_out,)))
    assert "served now" in said(capsys, home, "models", "show")
    assert f"{current(home / 'bundles').name} " in said(capsys, home, "models", "--no-check")
