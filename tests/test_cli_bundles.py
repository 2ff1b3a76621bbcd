"""Bundles from the command line: trained, held back, forced, reported, listed, compared, promoted, rolled back."""

import json
import shutil
import sys
import webbrowser
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from features.outcomes import KIND_CODES
from huozhao import show, show_bundles
from huozhao.cli import main
from ranking import Engine, FeedRequest
from ranking.bundles.attached import attach
from ranking.bundles.versions import versions_of
from training import registry
from training.baselines.systems import AT_TRAINING
from training.gate import Check, Verdict
from training.publish import findings_of
from training.reports.findings import to_json
from training.served import Held


@pytest.fixture(scope="module")
def retrained(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny home after one more training, of another seed, by hand promoted in place of the first."""
    home = Path(shutil.copytree(tiny_home, tmp_path_factory.mktemp("retrained") / "home"))
    assert main(["train", "--seed", "5", "--force", "we know it", "--home", str(home)]) == 0
    return home


@pytest.fixture
def home(retrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUOZHAO_HOME", raising=False)
    return Path(shutil.copytree(retrained, tmp_path / "home"))


def said(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main([*arguments, "--home", str(home)]) == code
    heard = capsys.readouterr()
    return heard.out if code == 0 else heard.err


def test_a_training_is_judged_beside_the_current_bundle_and_reported(home: Path) -> None:
    bundles = home / "bundles"
    first, entry = registry.promotions(bundles)
    assert (first.version, first.reason) == (entry.previous, "the first bundle")
    assert entry.version == registry.current_version(bundles) != entry.previous
    found = findings_of(bundles / entry.version)
    assert found is not None
    assert found.verdict is not None
    assert found.verdict.against == entry.previous
    assert {check.measure for check in found.verdict.checks} == {"gauc", "calibration", "latency"}
    systems = {row.system for row in found.rows}
    assert systems >= {"huozhao", "previous", "lambdamart", *AT_TRAINING}
    assert not systems & {"static", "fm"}
    assert found.drift
    assert found.reliability
    assert found.changes is not None
    assert found.changes.before == entry.previous
    html = (bundles / entry.version / "report.html").read_text("utf-8")
    assert entry.previous in html
    metrics = json.loads((bundles / entry.version / "metrics.json").read_text("utf-8"))
    assert metrics["version"] == entry.version


def test_a_bundle_that_nothing_can_judge_is_kept_but_not_promoted_unless_forced(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, there = registry.current_version(home / "bundles"), set(versions_of(home / "bundles"))
    arguments = ("train", "--until", "2022-07-01", "--no-report")
    line = said(capsys, home, *arguments, code=2).splitlines()[-1]
    assert "is kept, not promoted: the log holds no page" in line
    assert "--force REASON" in line
    assert registry.current_version(home / "bundles") == before
    (kept,) = set(versions_of(home / "bundles")) - there
    assert f"Bundle {kept} is kept" in line
    assert not (home / "bundles" / kept / "report.html").exists()
    assert said(capsys, home, *arguments, "--force", "the day is over")
    last = registry.promotions(home / "bundles")[-1]
    assert (last.version, last.previous, last.how) == (kept, before, "forced")
    assert last.reason.startswith("the day is over (the gate: ")
    assert "Nothing was judged: the log holds no page" in said(capsys, home, "report")


def test_bundles_are_listed_shown_and_compared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = registry.current_version(home / "bundles")
    (old,) = (version for version in versions_of(home / "bundles") if version != new)
    listed = said(capsys, home, "models")
    assert f"→ {new}" in listed
    assert f"  {old}" in listed
    assert max(map(len, listed.splitlines())) <= 120
    assert "served now" in said(capsys, home, "models", "show")
    assert "served now" not in said(capsys, home, "models", "show", old[:6])
    compared = said(capsys, home, "models", "diff", old[:6])
    assert f"{old} → {new}" in compared
    assert "gauc" in compared


def test_whose_weights_are_served_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("models show", "policy show"):
        told = said(capsys, home, *command.split()).replace("\n", " ")
        assert "Served weights are the bundle's: complete 4, like 3" in told
    (home / "policy.toml").write_text("[weights]\nlike = 3.5\n", "utf-8")
    for command in ("models show", "policy show file"):
        told = said(capsys, home, *command.split()).replace("\n", " ")
        assert "The bundle's weights are not served: policy.toml has [weights]" in told
        assert "complete 4, like 3.5" in told


def test_an_objective_is_served_once_its_bundle_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "objective.toml").write_text("complete = 100\nlike = 99\ncomment = 98\nshare = 97\n", "utf-8")
    objective = ("--objective", str(home / "objective.toml"))
    told = said(capsys, home, "train", *objective, "--force", "other weights", "--no-report")
    assert "Served weights are the bundle's: complete 100, like 99" in told
    with Engine.open(home, writer=False) as engine:
        page = engine.feed(FeedRequest(user_id="u1", count=3), engine.status(0).received_ms, "r")
        heads = engine.generation.ranker.heads
        scales = engine.generation.bundle.scales_of(heads)
    for item in page.items:
        at = heads.index("complete"), KIND_CODES[item.kind]
        assert item.terms["complete"] == pytest.approx(100 * scales[at] * item.heads["complete"])


def test_one_command_goes_back_and_one_forth(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = registry.current_version(home / "bundles")
    assert f"in place of {new}" in said(capsys, home, "rollback", "--reason", "complaints")
    assert registry.promotions(home / "bundles")[-1].reason == "complaints"
    assert new in said(capsys, home, "promote", new[:7], "--reason", "it was not that")
    assert registry.promotions(home / "bundles")[-1].reason.startswith("it was not that")
    assert "already" in said(capsys, home, "promote", new)
    assert "has no 'nothing'" in said(capsys, home, "promote", "nothing", code=2)


def test_a_bundle_that_is_worse_is_promoted_by_hand_with_a_reason_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = home / "bundles"
    new = registry.current_version(bundles)
    said(capsys, home, "rollback")
    old, found = registry.current_version(bundles), findings_of(bundles / new)
    assert found is not None
    worse = Check("gauc", "click", 0.5, 0.6, -0.1, -0.15, -0.05, 100, 500, worse=True)
    for checks, code in (((worse,), 2), ((msgspec.structs.replace(worse, worse=False),), 0)):
        verdict = Verdict(new, old, 1, 2, checks)
        attach(bundles / new, {"metrics.json": to_json(msgspec.structs.replace(found, verdict=verdict))})
        line = said(capsys, home, "promote", new, code=code)
        if code:
            assert "is not promoted: gauc of click: 0.5000 beside 0.6000" in line
            assert registry.current_version(bundles) == old
            said(capsys, home, "promote", new, "--reason", "the old one is dear")
            last = registry.promotions(bundles)[-1]
            assert (last.how, last.checks) == ("forced", (worse,))
            assert last.reason.startswith("the old one is dear (the gate: gauc of click")
            said(capsys, home, "rollback")
    assert registry.promotions(bundles)[-1].how == "gate"
    # Of what it has not been asked beside this one, the gate is asked now.
    code = main(["promote", old, "--home", str(home)])
    assert (code, registry.promotions(bundles)[-1].version) in ((0, old), (2, new))


def test_a_report_is_where_it_says_and_shown_in_a_browser(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def opened(uri: str) -> bool:
        shown.append(uri)
        return True

    monkeypatch.setattr(webbrowser, "open", opened)
    path = Path(said(capsys, home, "report", "--open").strip())
    assert path.name == "report.html"
    assert shown == [path.as_uri()]
    path.write_text("torn")
    assert "report.html is not as it was written" in said(capsys, home, "report", code=2)
    path.unlink()
    assert "--again" in said(capsys, home, "report", code=2)
    assert Path(said(capsys, home, "report", "--again").strip()).exists()


def test_a_damaged_bundle_is_listed_as_such(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = registry.current_version(home / "bundles")
    (home / "bundles" / new / "bins.json").write_text("[]")
    assert "damaged" in said(capsys, home, "models", code=2)
    assert "bins.json" in said(capsys, home, "models", "show", code=2)


def test_a_head_whose_calibration_drifts_is_an_alarm() -> None:
    held = Held("click", 1.4, 1.3, 1.5, 1.02, 900, drifted=True)
    words = show_bundles.alarm(held)
    assert "click was predicted 1.40 times as often as it happened" in words
    with (console := show.console()).capture():
        console.print(words)
    assert msgspec.json.decode(msgspec.json.encode(held), type=Held) == held


def test_mlflow_is_asked_for_before_anything_is_trained(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        import mlflow
    except ImportError:
        line = said(capsys, home, "train", "--mlflow", "file:runs", code=2)
        assert "huozhao[mlflow]" in line
        assert "fitting" not in line
        return
    said(capsys, home, "train", "--seed", "5", "--mlflow", f"file:{home}/runs")
    (run,) = mlflow.search_runs(experiment_names=["huozhao"], output_format="list")
    assert run.data.params["version"] == registry.current_version(home / "bundles")
    assert run.data.metrics["gauc.click"] > 0.5


class FarError(Exception):
    """What MLflow raises."""


class Away:
    """MLflow whose server answers the first so many calls."""

    exceptions = SimpleNamespace(MlflowException=FarError)

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def set_tracking_uri(self, uri: str) -> None:
        assert uri == "http://tracking"

    def set_experiment(self, name: str) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise FarError(f"API request for {name} failed\nwith much more")

    def start_run(self, run_name: str) -> AbstractContextManager[None]:
        self.set_experiment(run_name)
        return nullcontext()

    def log_params(self, parameters: dict[str, object]) -> None:
        asked = {"seed": 5, "seeds": 1, "negatives": 0.5, "warm": "", "weight.complete": 4.0}
        assert {name: parameters[name] for name in asked} == asked
        raise FarError("the disk is full")


def test_mlflow_that_is_away_is_told_before_a_training_or_with_what_it_did(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("train", "--seed", "5", "--negatives", "0.5", "--no-report", "--mlflow", "http://tracking")
    modules = cast("dict[str, object]", sys.modules)
    monkeypatch.setitem(modules, "mlflow", Away(calls=0))
    before = versions_of(home / "bundles")
    line = said(capsys, home, *arguments, code=2)
    assert "MLflow at http://tracking cannot be written to: API request for huozhao failed. Nothing was trained" in line
    assert versions_of(home / "bundles") == before
    monkeypatch.setitem(modules, "mlflow", Away(calls=2))
    line = said(capsys, home, *arguments, "--force", "small", code=2)
    assert "not logged to MLflow at http://tracking: the disk is full. Training and promotion are done" in line
    assert registry.current_version(home / "bundles") not in before


def test_columns_and_weights_are_read_from_files_and_a_wrong_name_is_answered_with_the_nearest(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "features.toml").write_text(
        'columns = [{ type = "rate", of = "item", action = "click" }, { type = "context", source = "position" }]'
    )
    (tmp_path / "objective.toml").write_text("like = 3.5")
    files = ("--features", "features.toml", "--objective", "objective.toml")
    said(capsys, home, "train", *files, "--seeds", "2", "--negatives", "0.5", "--no-report", "--force", "small")
    shown = said(capsys, home, "models", "show")
    assert "2 columns" in shown
    assert "3.5" in shown
    (tmp_path / "objective.toml").write_text("liek = 3.5")
    assert "like" in said(capsys, home, "train", *files, code=2)
    assert "new/bundles has no current bundle" in said(capsys, _empty(home, tmp_path), "train", "--warm", code=2)


def _empty(home: Path, tmp_path: Path) -> Path:
    """A home with the log alone."""
    shutil.copytree(home / "log", tmp_path / "new" / "log")
    return tmp_path / "new"
