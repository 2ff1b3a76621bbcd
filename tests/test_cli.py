"""The command line as a person uses it: what it makes and what it prints."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.logs.live import HomeLog
from features.snapshot import SnapshotWarning
from huozhao import show
from huozhao.cli import main
from huozhao.commands import LIVE_TOML
from huozhao.home import OPENING, opening
from huozhao.stages import Stages, patiently
from huozhao.times import moment_ms, now_of, wall_ms
from ranking.api import Feed
from ranking.engine import Engine
from ranking.policy import DEFAULT_TOML, Bound, default, parse
from tests.command_line import fault, page
from training import Row

ROOT = Path(__file__).parents[1]
MIDNIGHT_MS = 1_655_308_800_000
"""16 June 2022 in China."""
KEYS = {"system", "head", "kind", "slice", "metric", "value", "low", "high", "positives", "slates", "pairs"}


pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_home, tmp_path / "home"))


# -- what it makes and prints -----------------------------------------------------------------------------------------


def test_a_simulated_home_is_trained_judged_and_served_from_by_the_environments_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUOZHAO_HOME", str(tmp_path / "shop"))
    assert main(["simulate", "--users", "120", "--days", "2", "--seed", "3", "--start", "2022-06-16"]) == 0
    assert main(["train", "--seed", "3"]) == 0
    assert main(["evaluate"]) == 0
    assert main(["feed", "u1", "--count", "4"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("calibrate", "Bundle", "gauc", "ndcg5", "complete +", "user u1"))
    assert {path.name for path in (tmp_path / "shop").iterdir()} >= {"log", "bundles", "policy.toml"}
    assert (tmp_path / "shop" / "policy.toml").read_text("utf-8") == DEFAULT_TOML


def test_a_world_without_a_start_ends_now_with_rooms_that_stay_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began_ms, home = wall_ms(), tmp_path / "new"
    assert main(["simulate", "--users", "60", "--days", "2", "--home", str(home)]) == 0
    with HomeLog(home / "log", writer=False) as log:
        last_ms = [batch["received_ms"][-1].as_py() for batch in log.read()][-1]
    assert began_ms - 600_000 < last_ms < wall_ms()
    kept, usual = parse((home / "policy.toml").read_text("utf-8")), default()
    assert (home / "policy.toml").read_text("utf-8") == LIVE_TOML
    assert (kept.room_ttl_ms, usual.room_ttl_ms) == (7_200_000, 180_000)
    assert set(kept.surface("feed").bounds) - set(usual.surface("feed").bounds) == {Bound("video", 3, 5)}


def test_the_figures_file_has_one_row_a_figure_and_every_system(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    assert main(["evaluate", "--baselines", "--json", str(file), "--home", str(home)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert all(row.keys() >= KEYS for row in rows)
    assert {"huozhao", "popularity", "static"} <= {row["system"] for row in rows}
    assert {"auc", "gauc", "gauc_user", "ndcg5", "logloss", "ece", "slope"} <= {row["metric"] for row in rows}
    assert {row["kind"] for row in rows} == {"all", "room", "product", "video"}
    ours = next(row for row in rows if (row["head"], row["metric"], row["kind"]) == ("complete", "gauc", "all"))
    assert ours["low"] < ours["value"] < ours["high"]
    printed = capsys.readouterr().out
    assert f"{ours['value']:.3f}".removeprefix("0") in printed
    assert max(map(len, printed.splitlines())) <= 120


def test_a_figure_of_a_handful_of_pairs_is_not_printed() -> None:
    few, many = (
        Row("huozhao", head, "all", "all", "gauc", 0.75, 0.7, 0.8, 30, 9, n) for head, n in (("a", 19), ("b", 20))
    )
    with (console := show.console()).capture() as printed:
        console.print(show.figures_table([few, many]))
    line = {row.split()[1]: row for row in printed.get().splitlines()}
    assert ".750" in line["b"]
    assert ".750" not in line["a"]


def test_a_feed_shows_terms_that_sum_to_the_value_and_what_found_each_item(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = page(capsys, "u1", "--count", "7", "--home", str(home))
    assert len(found.items) == 7
    assert all(item.value == pytest.approx(sum(item.terms.values())) and item.source for item in found.items)
    assert main(["feed", "u1", "--count", "7", "--home", str(home)]) == 0
    printed = capsys.readouterr().out
    assert all((item.title or item.item_id) in printed and f"{item.value:.2f}" in printed for item in found.items)


def test_a_feed_of_a_log_of_the_past_is_as_of_its_end_so_that_its_rooms_are_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HomeLog(home / "log", writer=False) as log:
        last_ms = [batch["received_ms"][-1].as_py() for batch in log.read()][-1]
    found = page(capsys, "u1", "--surface", "plaza", "--home", str(home))
    assert found.now_ms == last_ms + 1
    assert found.items
    assert not page(capsys, "u1", "--surface", "plaza", "--now", "2022-07-01", "--home", str(home)).items


def test_someone_not_known_gets_a_page_and_is_told_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(page(capsys, "nobody", "--home", str(home)).items) == 20
    assert main(["feed", "nobody", "--home", str(home)]) == 0
    assert "Nothing is known of user 'nobody'" in capsys.readouterr().out
    assert main(["feed", "u1", "--home", str(home)]) == 0
    assert "Nothing is known" not in capsys.readouterr().out


def test_whom_a_home_showed_is_told_in_words_and_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shown", "--home", str(home)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["shown", "--json", "--home", str(home)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert lines[0] == f"{found['slots']:,} slots of {home}:"
    assert [line.split()[0] for line in lines[1:]] == [f"{found[name]:.3f}" for name in list(found)[1:]]
    assert 0.5 < found["beyond_followers"] < 1
    assert "No page was served" in fault(capsys, "shown", "--since", "2030-01-01", "--home", str(home))


def test_a_feed_appends_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in (home / "log").rglob("*.parquet")}
    with HomeLog(home / "log", writer=False) as log:
        end = log.end()
        page(capsys, "u1", "--home", str(home))
        assert log.end() == end
    assert {path: path.read_bytes() for path in (home / "log").rglob("*.parquet")} == before


def test_the_training_table_has_keys_features_and_labels_that_are_null_while_open(home: Path, tmp_path: Path) -> None:
    assert main(["replay", str(tmp_path / "table.parquet"), "--since", "2022-06-17", "--home", str(home)]) == 0
    table = pq.read_table(tmp_path / "table.parquet")
    assert pc.min(table["received_ms"]).as_py() >= MIDNIGHT_MS + 86_400_000
    assert {"offset", "slate", "user_id", "item_id", "kind", "item.like/impression@7d", "y.click"} <= {
        *table.column_names
    }
    assert 0.2 < pc.mean(table["y.click"].cast("double")).as_py() < 0.6
    assert 0 < table["y.click"].null_count < table["y.order"].null_count
    assert table["read_offset"].to_pylist() == sorted(table["read_offset"].to_pylist())
    assert not [*tmp_path.glob(".*draft")]


def test_kuairand_becomes_a_home_but_not_twice(
    kuairand: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "kuairand", str(kuairand), "--home", str(tmp_path / "kr")]) == 0
    assert "7,583 videos" in capsys.readouterr().out
    assert "holds a log already" in fault(capsys, "import", "kuairand", str(kuairand), "--home", str(tmp_path / "kr"))


def test_the_demo_prints_three_pages_and_builds_its_world_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "demo")
    assert main(["demo", "--once", "--home", home]) == 0
    first = capsys.readouterr()
    assert first.out.count("top terms") == 3
    assert "fitting heads" in first.err
    assert {"room", "product", "video"} <= set(first.out.split())
    assert main(["demo", "--once", "--home", home]) == 0
    assert "fitting heads" not in capsys.readouterr().err
    with Engine.open(Path(home), writer=False) as engine:
        assert engine.status(wall_ms()).rooms_alive > 0


def test_the_demo_does_not_overwrite_a_home_of_another(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "was not made by the demo" in fault(capsys, "demo", "--once", "--home", str(home))
    assert (home / "log").is_dir()


def test_the_demo_does_not_take_its_home_from_under_a_server_of_yesterday(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "demo.json").write_text('{"start_ms": 0, "whole": true}')
    with HomeLog(home / "log", writer=True):
        assert "Another writer holds the log" in fault(capsys, "demo", "--once", "--home", str(home))
    assert (home / "bundles" / "current.json").is_file()


def test_the_demo_says_that_its_port_is_taken_before_it_builds_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = fault(capsys, "demo", "--port", str(port), "--home", str(tmp_path / "demo"))
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said
    assert not (tmp_path / "demo").exists()


def test_help_needs_no_home_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(
        name in printed for name in ("demo", "import", "simulate", "replay", "train", "evaluate", "serve", "feed")
    )
    assert main(["train", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("--home", "--since", "--until", "--seed"))


COMMANDS = [
    "demo",
    "import kuairand",
    "simulate",
    "serve",
    "feed",
    "why",
    "shown",
    "train",
    "evaluate",
    "report",
    "models",
    "models show",
    "models diff",
    "promote",
    "rollback",
    "migrate",
    "replay",
    "policy check",
    "policy show",
    "policy diff",
    "keys add",
    "keys list",
    "keys revoke",
    "log check",
    "log repair",
]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help_of_whole_paragraphs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--empty-" not in printed
    assert "('" not in printed
    assert "\n\n\n" not in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EACCES, "who may read and write there"),
        (errno.EROFS, "that you may write to"),
        (errno.ENOTDIR, "Check the path"),
    ],
)
def test_a_fault_of_the_system_is_told_with_what_can_be_done(
    number: int, way_out: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_home: Path) -> None:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr("huozhao.keys.show", broken)
    told = fault(capsys, "keys", "list")
    assert f"/some/file: {os.strerror(number)}." in told
    assert way_out in told


def test_help_imports_nothing_heavy() -> None:
    check = "import sys; from huozhao.cli import main; main(['train', '--help']); sys.exit('numba' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


# -- a server of its own ----------------------------------------------------------------------------------------------


@pytest.fixture
def server(home: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "huozhao", "serve", "--port", "0", "--home", str(home)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield said.partition(" at ")[2].split()[0], process
        process.kill()


def test_serve_says_where_answers_and_stops_quietly_when_interrupted(
    server: tuple[str, "subprocess.Popen[str]"],
) -> None:
    address, process = server
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(
        f"{address}/v1/feed", b'{"user_id": "u1", "count": 3, "deadline_ms": 60000}', headers
    )
    with urllib.request.urlopen(asked) as answer:
        assert len(msgspec.json.decode(answer.read(), type=Feed).items) == 3
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    # On a machine that is busy the start takes long enough to be told of.
    assert [line for line in said.splitlines() if OPENING not in line] == []


def test_an_interrupted_command_ends_with_130(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("huozhao.home.open_reader", interrupted)
    assert main(["feed", "u1", "--home", str(home)]) == 130


def test_a_reader_that_has_read_enough_is_no_fault(home: Path) -> None:
    command = f"'{sys.executable}' -m huozhao feed u1 --json --count 200 --home '{home}' | head -n 1"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


# -- times and progress -----------------------------------------------------------------------------------------------


def test_a_plain_date_is_its_midnight_in_china_and_a_time_says_its_zone() -> None:
    assert moment_ms("--since", "2022-06-16") == MIDNIGHT_MS
    assert moment_ms("--since", "2022-06-15T16:00:00Z") == MIDNIGHT_MS
    assert moment_ms("--since", "2022-06-16T01:00:00.250+09:00") == MIDNIGHT_MS + 250


def test_now_is_the_clocks_only_while_the_log_is_of_today() -> None:
    assert now_of(MIDNIGHT_MS) == MIDNIGHT_MS + 1
    assert abs(now_of(wall_ms() - 3_600_000) - wall_ms()) < 60_000


def test_what_takes_long_is_told_and_what_does_not_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()
    with patiently("short", after_s=3600):
        pass
    with patiently("long", after_s=0):
        while not told.wait(0.01):
            if "long" in capsys.readouterr().err:
                told.set()
    assert "short" not in capsys.readouterr().err


def test_a_stage_that_goes_on_is_told_of_again(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""
    with Stages(every_s=0.001) as stages:
        stages("counted", 1, 4)
        while "25 % of counted" not in said:
            said += capsys.readouterr().err
        stages.of("not counted")
        while "still not counted" not in said:
            said += capsys.readouterr().err
    capsys.readouterr()
    assert not any(thread.name == "stages" for thread in threading.enumerate())


def test_a_warning_of_ours_is_one_line_without_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    ours = warnings.formatwarning(SnapshotWarning("Snapshot skipped:\nit is damaged."), SnapshotWarning, "a.py", 3)
    assert ours == "huozhao: Snapshot skipped: it is damaged.\n"
    assert "a.py:3" in warnings.formatwarning(UserWarning("else"), UserWarning, "a.py", 3)


def test_progress_is_a_line_a_stage_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages() as stages:
        for done in range(3):
            stages("first", done, 3)
        stages.of("second")(1, 2)
    said = capsys.readouterr()
    assert [line.split()[-1] for line in said.err.splitlines()] == ["first", "second"]
    assert said.out == ""


def test_figures_of_three_systems_are_within_the_width_and_none_is_cut() -> None:
    row = Row("huozhao", "long_view", "all", "all", "gauc", 0.601, 0.59, 0.612, 900, 12_345, 1_234_567)
    rows = [msgspec.structs.replace(row, system=system) for system in show.SYSTEMS]
    for other in show.SYSTEMS[1:]:
        metric = f"gauc_diff_vs_{other}"
        rows.append(msgspec.structs.replace(row, metric=metric, value=-0.012, low=-0.023, high=-0.001))
    console = show.console()
    with console.capture() as heard:
        console.print(show.figures_table(rows))
    line = heard.get().splitlines()[1]
    assert len(line) <= show.WIDTH
    assert "…" not in heard.get()
    assert line.count(".601 .590–.612") == 3
    assert line.count("-.012 -.023–-.001") == 2


def test_a_first_start_is_told_to_compile_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert "compiled" in opening()
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "counters.fold-92.py311.nbi").touch()
    assert "compiled" not in opening()
