"""Every command and every piece of code in README.md and docs/ is run here, in order, as a reader would."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
RUN_HERE = [page for page in PAGES if page.name not in ("benchmarks.md", "log.md")]
"""Experiments and benchmarks take their time; what they say was measured is not measured again here."""
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
SERVED = "http://127.0.0.1:8000"
PATIENCE_S = 120


class Reader:
    """Someone who copies what a page says into a shell, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        commands = folder / ".commands"
        commands.mkdir()
        for name, module in (("huozhao", "-m huozhao"), ("python", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (commands / name).chmod(0o755)
        home = {name: value for name, value in os.environ.items() if not name.startswith("HUOZHAO_")}
        self.environ = home | {"PATH": f"{commands}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        self.address = SERVED
        self.output = ""

    def run(self, language: str, text: str) -> None:
        text = text.replace(SERVED, self.address)
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", text]
        if language == "sh":
            # A curl that is answered with an error fails, and so does any command but the last.
            text = text.replace("curl -s ", "curl -sS --fail-with-body ")
            command = ["bash", "-euc", text]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        self.output += ran.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        with subprocess.Popen(
            [self.folder / ".commands" / "huozhao", "serve", "--port", "0"],
            cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, text=True,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            said = server.stdout.readline()
            found = re.search(r"http://\S+?:\d+", said)
            assert found, f"the server said {said!r}"
            self.address = found[0]
            try:
                yield
            finally:
                server.send_signal(signal.SIGTERM)


def _tried(language: str, text: str) -> str:
    """What is left to run here: the environment is there already, make and the benchmarks have tests of their own."""
    if language == "python":
        return text
    kept = [line for line in text.splitlines() if not re.match(r"make |\. \.venv/|python -m benchmarks", line)]
    return "\n".join(kept).strip()


def _sample(whole: Path, folder: Path) -> None:
    """One in 128 people of KuaiRand, user 712 among them."""
    folder.mkdir(parents=True)
    for path in whole.glob("*.parquet"):
        table = pq.read_table(path)
        if "user_id" in table.column_names:
            user = pc.cast(table["user_id"], "int64")
            table = table.filter(pc.equal(pc.subtract(user, pc.multiply(pc.divide(user, 128), 128)), 72))
        pq.write_table(table, folder / path.name)


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.name)
def test_what_a_page_says_runs(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    blocks = [(language, _tried(language, text)) for language, text in BLOCK.findall(page.read_text("utf-8"))]
    every = "\n".join(text for _, text in blocks)
    if "curl" in every and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    reader = Reader(tmp_path)
    if "import kuairand" in every:
        _sample(request.getfixturevalue("kuairand"), tmp_path / "KuaiRand-Pure" / "data")
    elif "simulate" not in every:
        shutil.copytree(request.getfixturevalue("tiny_home"), tmp_path / ".huozhao")
    before, after = blocks, []
    if ("sh", "huozhao serve") in blocks:
        at = blocks.index(("sh", "huozhao serve"))
        before, after = blocks[:at], blocks[at + 1 :]
    for block in before:
        reader.run(*block)
    if after:
        with reader.serving():
            for block in after:
                reader.run(*block)
    assert '"status":"rejected"' not in reader.output


def test_the_pages_name_only_targets_that_make_has() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"^make (?:\w+=\S+ )?(\w+)", page.read_text("utf-8"), re.MULTILINE)
    }
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_link_within_the_pages_leads_somewhere() -> None:
    dead = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_every_decision_has_its_number_its_day_and_how_it_stands() -> None:
    bad = []
    for page in sorted((ROOT / "docs" / "adr").glob("*.md")):
        title, _, day, *_ = page.read_text("utf-8").splitlines()
        if not (title.startswith(f"# {int(page.name[:3])}. ") and re.match(r"20\d\d-\d\d-\d\d\W", day)):
            bad.append(page.name)
    assert bad == []


def test_every_experiment_has_its_day_the_newest_first() -> None:
    heads = [line for line in (ROOT / "docs" / "log.md").read_text("utf-8").splitlines() if line.startswith("## ")]
    days = [re.search(r" \((\d+) ([A-Z][a-z]+)\)$", head) for head in heads]
    assert [head for head, day in zip(heads, days, strict=True) if day is None] == []
    pairs = [(one, other) for one, other in pairwise(day for day in days if day) if one[2] == other[2]]
    assert [other.string for one, other in pairs if int(one[1]) < int(other[1])] == []
