"""The house rules that no tool checks: pins, bounds, doors, and nothing of a machine in what is committed."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==([0-9][a-z0-9.]*)")
SOURCES = ("benchmarks", "features", "huozhao", "ranking", "seeds", "serving", "training", "tests")
# Written in pieces, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|tmp/w)\b",
            "index" + r"-url|find" + "-links",
            r"https?://\S+/simple" + r"\b",
        ]
    )
)
OPT_OUT = re.compile("type:" + r"\s*ignore|mypy:" + r"\s*\w|@(?:typing\.)?no_type" + "_check")


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    matches = [(line, PIN.fullmatch(line)) for line in lines]
    assert [line for line, match in matches if match is None] == []
    return {match[1]: match[2] for _, match in matches if match is not None}


def _requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    return [Requirement(line) for group in [project["build-system"]["requires"], *groups] for line in group]


def _committed() -> Iterator[tuple[str, str]]:
    """Every text file that is committed or would be, by its path from the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file():
            yield name, path.read_bytes().decode(errors="ignore")


def test_constraints_are_names_and_exact_versions_sorted_once_each() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert list(_pins()) == sorted({line.split("==")[0] for line in lines})
    assert len(_pins()) == len(lines)


def test_every_dependency_is_bounded_below_and_above() -> None:
    operators = {str(need): {each.operator for each in need.specifier} for need in _requirements()}
    assert {need: found for need, found in operators.items() if found != {">=", "<"}} == {}


def test_the_pins_satisfy_the_bounds() -> None:
    pins = _pins()
    needs = [need for need in _requirements() if need.name != "setuptools"]
    unmet = [str(need) for need in needs if not need.specifier.contains(pins.get(canonicalize_name(need.name), ""))]
    assert unmet == []


@pytest.mark.parametrize("target", ["setup", "demo", "check", "test", "bench", "audit", "help"])
def test_make_has_the_door(target: str) -> None:
    command = ["make", "--dry-run", "--no-print-directory", target]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).returncode == 0


def test_make_alone_lists_its_doors() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line.split()[1] for line in listed.splitlines()] == [
        "help",
        "setup",
        "demo",
        "check",
        "test",
        "bench",
        "audit",
        "clean",
    ]


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    found = [f"{name}: {match[0]}" for name, text in _committed() for match in FOREIGN.finditer(text)]
    assert found == []


def test_no_module_opts_out_of_its_types() -> None:
    ours = [(name, text) for name, text in _committed() if name.endswith(".py") and name.split("/")[0] in SOURCES]
    assert ours
    assert [f"{name}: {match[0]}" for name, text in ours for match in OPT_OUT.finditer(text)] == []
