"""A server that is killed loses nothing it acknowledged, keeps nothing twice, and starts as if it had never stopped."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.crash import killed
from benchmarks.crash_sync import answers_before_sync, lost_by_cuts, read_trace
from features.logs.live import HomeLog
from features.records import User
from features.schema import FeatureSet
from features.snapshot import SnapshotWarning, clear_beyond, newest, restored, save
from features.state import FeatureState
from ranking.engine import Engine
from serving.snapshots import COMMAND, LEFT, Snapshots, take
from tests.features.test_snapshot import assert_same
from tests.serving.test_writer import like
from tests.small_home import FEATURES, NOW


def test_kills_under_load_lose_nothing_acknowledged_and_keep_nothing_twice(home: Path) -> None:
    Engine.open(home).close()
    report = killed(home, 3)
    assert [fault for fault in report.faults if "no load" not in fault] == []
    assert set(report.ratios.values()) == {0.0}
    assert report.rows[0]["events_acknowledged"] != 0


def test_no_cut_of_the_write_ahead_file_takes_what_was_acknowledged(tmp_path: Path) -> None:
    cuts, lost = lost_by_cuts(tmp_path, 8)
    assert (cuts > 20, lost) == (True, 0)


def test_a_trace_tells_answers_that_a_sync_covers_from_those_that_come_too_early() -> None:
    ask = '9  read(3<socket:[1]>, "POST /v1/events "..., 65536) = 222'
    write, sync = "7  pwrite64(5</h/live.sqlite-wal>, ...) = 4096", "7  fdatasync(5</h/live.sqlite-wal>) = 0"
    answer = '9  sendto(3<socket:[1]>, "HTTP/1.1 200 OK\\r"..., 99) = 99'
    begun, ended = "7  fdatasync(5</h/live.sqlite-wal> <unfinished ...>", "7  <... fdatasync resumed>) = 0"
    assert read_trace([ask, write, sync, answer, ask, write, begun, ended, answer]) == (2, 2, 0)
    assert read_trace([ask, write, sync, answer, ask, write, answer, sync]) == (2, 2, 1)
    assert read_trace([ask, write, begun, answer, ended]) == (1, 1, 1)
    # What was written after a sync began is not covered by it.
    assert read_trace([ask, write, begun, write.replace("7", "8", 1), ended, answer]) == (1, 1, 1)
    # Nor does a sync of what was asked before, however late, cover what was asked since.
    assert read_trace([ask, write, sync, answer, write, sync, ask, answer]) == (2, 2, 1)
    assert read_trace([write, sync, answer]) == (1, 1, 1)


def test_a_snapshot_beside_a_server_holds_all_that_was_acknowledged_before(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like("a"), like("b")], NOW)
        path = take(home)
        assert path.name.endswith(f"{engine.status(0).offset:012d}")
        engine.append([like("c"), User("new", NOW), User("u1", NOW, gender="m")], NOW)
        with HomeLog(home / "log", writer=False) as log:
            assert log.end() == 56
            # It holds names drawn by lot; read by ids it is the state that serves.
            assert_same(restored(FEATURES.layout, log, home / "state"), engine.generation.state)
    assert b'"u1"' not in (path / "contents.json").read_bytes()


def test_a_snapshot_is_taken_when_so_many_records_have_come_and_when_somebody_was_erased(home: Path) -> None:
    with Engine.open(home) as engine:
        snapshots = Snapshots(engine, 3, look_s=0.02)
        snapshots.start()
        engine.append([like("a"), like("b")], NOW)
        assert list(home.glob("state/*")) == []
        engine.append([like("c")], NOW)
        while not list(home.glob("state/*-000000000054")):
            time.sleep(0.01)
        engine.erase("u1", NOW)
        while not list(home.glob("state/*-000000000055")):
            time.sleep(0.01)
        snapshots.stop()


def test_the_process_of_a_snapshot_gives_way_before_it_imports_anything(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("import os; print(os.nice(0))")
    (tmp_path / "serving" / "snapshots.py").write_text("def main() -> None: ...")
    said = subprocess.run([*COMMAND, "home"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "19\n"


def test_a_snapshot_ends_with_the_server_that_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    # A pointer that nobody ever writes: whoever reads it waits for ever.
    os.mkfifo(tmp_path / "bundles" / "current.json")
    command = [sys.executable, "-c", "from serving.snapshots import main; main()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == LEFT


def test_snapshots_of_what_the_log_has_lost_are_removed_before_other_records_come_there(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like("a")], NOW)
        shutil.copytree(home / "log", home / "before")
        engine.append([like("b")], NOW)
    layout = FEATURES.layout
    assert newest(layout, home / "state") is not None
    shutil.rmtree(home / "log")
    (home / "before").rename(home / "log")
    with pytest.warns(SnapshotWarning, match="beyond the log's end, 52"):
        engine = Engine.open(home)
    assert list(home.glob("state/*")) == []
    engine.close()


def test_drafts_of_snapshots_that_nobody_finished_are_removed(tmp_path: Path) -> None:
    path = save(FeatureState(FeatureSet(FEATURES.columns).layout), tmp_path)
    (tmp_path / "x-000000000001.draft").mkdir()
    clear_beyond(tmp_path, 0)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_answer_to_events_follows_a_sync_of_what_it_acknowledges(home: Path) -> None:
    found = answers_before_sync(home, NOW, 5)
    if isinstance(found, str):
        pytest.skip(found)
    answers, syncs, early = found
    assert (answers >= 5, syncs >= 5, early) == (True, True, 0)
