"""How the command line says that something is wrong: one line, with the thing, the place and the way out."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import LogError
from features.logs.live import HomeLog
from features.logs.log import records_table
from features.records import User
from huozhao.cli import main
from huozhao.home import fill
from tests.command_line import fault, page

MIDNIGHT_MS = 1_655_308_800_000
"""16 June 2022 in China."""

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_home, tmp_path / "home"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["feed", "u1", "--home", "nowhere"], "nowhere is not a home"),
        (["train", "--home", "nowhere"], "nowhere is not a home"),
        (["replay", "t.parquet", "--home", "nowhere"], "nowhere is not a home"),
        (["import", "kuairand", "nowhere", "--home", "new"], "nowhere"),
        (["trian"], 'Did you mean "train"?'),
        (["feed"], "feed needs USER"),
        (["replay"], "replay needs FILE"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--seed", "99999999999999999999"], "--seed"),
        (["replay", "t.parquet", "--seed", "-1"], "--seed"),
        (["simulate", "--seed", "-1"], "--seed"),
        (["simulate", "--start", "9999-12-31"], "--start: '9999-12-31'"),
        (["simulate", "--start", "2098-12-31"], "future"),
        (["simulate", "--start", "2022-06-16T12:00:00Z"], "midnight"),
        (["serve", "--home", "nowhere"], "nowhere is not a home"),
        (["train", "--since"], "--since"),
        (["simulate", "--users", "3"], "--users: 3 is not of 10 to 1000000"),
        (["simulate", "--days", "0"], "--days: 0 is not of 1 to 60"),
        (["simulate", "--seeds", "3"], "--seeds says nothing without --policy"),
        (["simulate", "--policy", "default", "--home", "new"], "--home says nothing with --policy"),
        (["simulate", "--policy", "default", "--start", "2022-06-16"], "--start says nothing with --policy"),
        (["simulate", "--policy", "default", "--seed", "3"], "--seed says nothing with --policy"),
        (["feed", "u1", "u2"], "feed has no place for 'u2'. See huozhao feed --help."),
        (["models", "nope"], "models has no place for 'nope'"),
        (["demo", "--port", "99999", "--home", "new"], "65535"),
        (["simulate", "--start", "yesterday"], "--start: 'yesterday' is not a time"),
    ],
)
def test_a_fault_is_one_line_with_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert says in fault(capsys, *arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--until", "2022-06-18T12:00:00"], "--until: '2022-06-18T12:00:00' does not say of which time zone"),
        (["train", "--since", "the 18th"], "--since"),
        (["train", "--until", "2020-01-01"], "impressions"),
        (["train", "--since", "2022-06-18", "--until", "2022-06-17"], "--since is not before --until"),
        (["train", "--warm", "--until", "1980-01-01"], "Choose a later one"),
        (["evaluate", "--since", "2022-06-18", "--until", "2022-06-17"], "--since is not before --until"),
        (["evaluate", "--since", "2022-06-16"], "before training ended"),
        (["evaluate", "--since", "2030-01-01"], "Choose another --since"),
        (["evaluate", "--json", "no/such/folder.json"], "no/such/folder.json"),
        (["replay", "no/such/table.parquet"], "no/such"),
        (["replay", "table.parquet", "--since", "2030-01-01"], "no impression in this time"),
        (["feed", "u1", "--count", "0"], "count"),
        (["feed", "u1", "--surface", "nope"], "There are feed, plaza, mall"),
        (["feed", "", "--count", "1000"], "count must be at most 200"),
        (["feed", "u" * 129], "user_id must have at most 128 characters"),
        (["replay", "."], ". is a folder"),
        (["evaluate", "--json", "."], ". is a folder"),
        (["simulate"], "holds a log already"),
        (["keys", "add", "a", "--per-second", "inf"], "per_second is inf"),
        (["keys", "add", "b c"], "'b c' is no name for a key"),
        (["keys", "add", "a", "--scope", "reed"], "Scopes are read, events, catalog, admin"),
        (["serve", "--share", "3"], "--share (or HUOZHAO_SHADOW_SHARE) must be at most 1.0"),
        (["serve", "--port", "99999"], "--port (or HUOZHAO_PORT) must be at most 65535"),
        (["serve", "--host", "no.such.invalid"], "no.such.invalid is not a loopback address"),
        (["serve", "--host", "no.such.invalid", "--allow-remote"], "another with --host"),
        (["serve", "--host", "0.0.0.0"], "--allow-remote"),
    ],
)
def test_what_a_home_cannot_do_is_one_line_with_code_2(
    arguments: list[str], says: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in fault(capsys, *arguments, "--home", str(home))


def test_a_home_without_a_bundle_says_how_to_get_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home / "bundles")
    for command in (["feed", "u1"], ["evaluate"], ["serve", "--port", "0"]):
        assert "Train one with `huozhao train`" in fault(capsys, *command, "--home", str(home))


def test_a_damaged_bundle_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (codes,) = (home / "bundles").glob("*/codes.json")
    codes.write_bytes(codes.read_bytes() + b" ")
    assert "codes.json is not as it was written" in fault(capsys, "feed", "u1", "--home", str(home))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[weights]\nlikes = 3.0\n", "Did you mean 'like'?"),
        ("[weights]\nshare = 9.0\n", "weights.share"),
        ("candidates = many\n", "no TOML"),
    ],
)
def test_a_mistake_in_the_policy_is_named(text: str, says: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "policy.toml").write_text(text)
    line = fault(capsys, "feed", "u1", "--home", str(home))
    assert "policy.toml" in line
    assert says in line


def test_a_second_writer_is_refused_and_a_reader_is_not(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with HomeLog(home / "log", writer=True):
        assert "Another writer holds the log" in fault(capsys, "serve", "--port", "0", "--home", str(home))
        assert page(capsys, "u1", "--home", str(home)).items


def test_a_file_is_no_home_to_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for command in (["simulate", "--users", "10", "--days", "1"], ["import", "kuairand", "nowhere"]):
        assert "file is a file. Name a folder" in fault(capsys, *command, "--home", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_of_two_who_make_a_home_at_once_the_second_takes_nothing_from_the_first(tmp_path: Path) -> None:
    def overtaken() -> Iterator[pa.Table]:
        assert fill(tmp_path / "new", [table]) == 1
        yield table

    table = records_table([(MIDNIGHT_MS, User("u1", MIDNIGHT_MS))])
    with pytest.raises(LogError, match="holds a log already"):
        fill(tmp_path / "new", overtaken())
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"log", "policy.toml"}
    with HomeLog(tmp_path / "new" / "log", writer=False) as log:
        assert log.end() == 1


def test_kernels_that_can_be_kept_nowhere_are_told_with_what_to_set(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("cannot cache function 'fold': no locator available for file 'counters.py'")

    monkeypatch.setattr("huozhao.home.open_reader", broken)
    assert "Set NUMBA_CACHE_DIR" in fault(capsys, "feed", "u1", "--home", str(home))


def test_a_home_without_keys_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list", "--home", str(home)]) == 0
    assert capsys.readouterr() == ("", f"huozhao: {home} has no keys.\n")
    assert main(["keys", "add", "app", "--per-second", "2.5", "--home", str(home)]) == 0
    assert main(["keys", "list", "--home", str(home)]) == 0
    assert capsys.readouterr().out.endswith("\napp  read  2.5 a second\n")
    assert main(["keys", "revoke", "app", "--home", str(home)]) == 0
    said = capsys.readouterr()
    assert said.out == "Key app is revoked.\n"
    assert "refuses everybody until one is added" in said.err


def test_an_import_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    def cut_short() -> Iterator[pa.Table]:
        yield records_table([(MIDNIGHT_MS, User("u1", MIDNIGHT_MS))])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "new", cut_short())
    assert not (tmp_path / "new").exists()
    assert fill(tmp_path / "new", [records_table([(MIDNIGHT_MS, User("u1", MIDNIGHT_MS))])]) == 1


def test_a_fault_that_nobody_foresaw_is_one_line_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody\nthought of it")

    monkeypatch.setattr("huozhao.home.open_reader", broken)
    assert main(["feed", "u1", "--home", str(home)]) == 70
    said = capsys.readouterr().err
    assert said.startswith("huozhao: ZeroDivisionError: nobody thought of it. ")
    assert said.count("\n") == 1
    monkeypatch.setenv("HUOZHAO_TRACEBACK", "1")
    assert main(["feed", "u1", "--home", str(home)]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_path_is_named_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (codes,) = (home / "bundles").glob("*/codes.json")
    codes.unlink()
    line = fault(capsys, "feed", "u1", "--home", str(home))
    assert line.count("codes.json") == 1
    assert "Errno" not in line


def test_a_log_of_impossible_rows_says_so(tmp_path: Path, kuairand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (whole,) = (path for path in kuairand.glob("*.parquet") if "play_time_ms" in pq.read_schema(path).names)
    table = pq.read_table(whole).slice(0, 7)
    (tmp_path / "bad").mkdir()
    at = table.column_names.index("play_time_ms")
    pq.write_table(table.set_column(at, "play_time_ms", pa.array([-1] * 7)), tmp_path / "bad" / "log.parquet")
    assert "all 7 rows" in fault(capsys, "import", "kuairand", str(tmp_path / "bad"), "--home", str(tmp_path / "kr"))
