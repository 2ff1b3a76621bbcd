"""What every test may ask for: the KuaiRand sample, a trained tiny home, and one hypothesis profile."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from huozhao.home import fill, open_log
from seeds.constants import Size
from seeds.world import World
from tests.small_home import make
from training import train

IN_CI = os.environ.get("CI") == "true"

# How long an example took says more about the machine than about the code: no deadline, no check of slowness.
settings.register_profile(
    "huozhao", max_examples=50, deadline=None, derandomize=IN_CI, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("huozhao")


@pytest.fixture(scope="session")
def kuairand() -> Path:
    """Folder of the KuaiRand sample; without it the test is skipped, in CI it fails."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HUOZHAO_DATA") or beside) / "kuairand"
    if not folder.is_dir():
        reason = "no KuaiRand sample: set HUOZHAO_DATA to the folder that holds kuairand/"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three days of a small world and a bundle trained on the first two; copy it to write to it."""
    home = tmp_path_factory.mktemp("tiny") / "home"
    fill(home, World.create(7, Size(users=150, hosts=20, videos=250, products=100, days=3)).log())
    with open_log(home) as log:
        train(log, home / "bundles")
    return home


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of forty items made in a second; ``home`` is a copy to write to."""
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def home(small_home: Path, tmp_path: Path) -> Path:
    """A copy of ``small_home``."""
    return shutil.copytree(small_home, tmp_path / "home")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may find the home of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HUOZHAO_HOME", raising=False)
