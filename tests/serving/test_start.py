"""What is looked at before a server takes its first request: settings, and whose packages it runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving import ForeignPackageError, Settings, SettingsError, check_packages
from serving.foreign import PACKAGES

ROOT = Path(__file__).parents[2]


def test_what_is_given_wins_over_the_environment_and_that_over_the_defaults() -> None:
    environ = {"HUOZHAO_HOME": "a home", "HUOZHAO_PORT": "9000", "HOME": "elsewhere"}
    assert Settings.read(environ, {"port": 9001, "host": None}) == Settings("a home", "127.0.0.1", 9001, False)
    assert Settings.read({}, {}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"), [("port", "many"), ("port", 65536), ("port", -1), ("host", ""), ("home", "")]
)
def test_a_setting_out_of_range_is_named(name: str, value: str | int) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.read({}, {name: value})
    with pytest.raises(SettingsError, match=name):
        Settings.read({f"HUOZHAO_{name.upper()}": str(value)}, {})


def test_a_setting_is_called_as_it_is_given() -> None:
    with pytest.raises(SettingsError, match=r"^HUOZHAO_DURABILITY: Invalid enum value 'some'\."):
        Settings.read({"HUOZHAO_DURABILITY": "some"}, {})
    with pytest.raises(SettingsError, match=r"^--log-answers \(or HUOZHAO_LOG_ANSWERS\) must be true or false\."):
        Settings.read({"HUOZHAO_LOG_ANSWERS": "perhaps"}, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_interface_needs_no_leave(host: str) -> None:
    Settings(host=host).check()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.com"])
def test_listening_where_others_can_reach_needs_leave_by_name(host: str) -> None:
    with pytest.raises(SettingsError, match="--allow-remote"):
        Settings(host=host).check()
    Settings(host=host, allow_remote=True).check()


def test_our_own_packages_pass() -> None:
    check_packages()


def plant(site: Path, name: str, distribution: str) -> None:
    """Install a package of another distribution, as pip leaves it."""
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").touch()
    found = site / f"{distribution}-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (found / "RECORD").write_text(f"{name}/__init__.py,,\n{found.name}/METADATA,,\n{found.name}/RECORD,,\n")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_another_distribution_ships_too_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant(tmp_path, name, "stranger")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with pytest.raises(ForeignPackageError, match=f"'{name}' is also shipped by stranger"):
        check_packages()


def test_a_package_that_hides_ours_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "features", tmp_path / "features", ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-c", "from serving import check_packages; check_packages()"]
    environ = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"ForeignPackageError: Package 'features' was found in {tmp_path}" in ran.stderr
