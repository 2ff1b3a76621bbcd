"""Policies from the command line: checked, shown, compared."""

import sys
from difflib import get_close_matches
from pathlib import Path

from features.errors import BundleError, PolicyError
from huozhao.times import iso
from huozhao.weighing import sentence
from ranking.bundles.bundle import decoded, read_part
from ranking.bundles.pointer import current
from ranking.policy import Policy, default, load
from ranking.policy.versions import find, history
from ranking.policy.writing import as_toml, changes
from ranking.value import Weights


def check(home: Path, file: Path | None) -> None:
    """Say that a policy is right, and what it changes; a mistake is raised."""
    path = file or home / "policy.toml"
    if not path.exists():
        raise PolicyError(f"There is no {path}.", "Name a file, or a home with --home.")
    policy = load(path)
    print(f"{path} is right: version {policy.version}.")
    for name in sorted(policy.surfaces.keys() - default().surfaces.keys()):
        near = get_close_matches(name, default().surfaces, 1)
        print(f"surfaces.{name} is a surface of its own{f', and not {near[0]!r}' if near else ''}.")
    if history(home / "policies"):
        print(f"{len(changes(_named(home, 'current'), policy))} keys differ from what is in force.")


def show(home: Path, version: str) -> None:
    """Print a policy and when it was in force."""
    policy = _named(home, version)
    print(f"# version {policy.version}")
    entries = history(home / "policies")
    ends = [*(iso(entry.since_ms) for entry in entries[1:]), "now"]
    for entry, until in zip(entries, ends, strict=False):
        if entry.version == policy.version:
            print(f"# in force from {iso(entry.since_ms)} until {until}")
    for line in _weighed(home, policy):
        print(f"# {line}")
    print(as_toml(policy), end="")


def _weighed(home: Path, policy: Policy) -> list[str]:
    """Whose weights a policy serves, by the bundle that is current; nothing where none is."""
    bundles = home / "bundles"
    if not (bundles / "current.json").exists():
        return []
    try:
        path = current(bundles) / "weights.json"
        return [sentence(policy, decoded(read_part(path.parent, path.name), Weights, path))]
    except BundleError as error:
        return [f"Whose weights are served is not known: {error}"]


def diff(home: Path, before: str, after: str) -> None:
    """Print the keys in which two policies differ."""
    policies = _named(home, before), _named(home, after)
    found = changes(*policies)
    print(f"{policies[0].version} -> {policies[1].version}: {len(found) or 'no'} keys differ")
    for key, old, new in found:
        print(f"{key}: {old or '(none)'} -> {new or '(none)'}")


def _named(home: Path, name: str) -> Policy:
    kept = home / "policies"
    if name == "current":
        entries = history(kept)
        # A home that was never served is under its file.
        return find(kept, entries[-1].version) if entries else _of_file(home)
    if name == "file":
        return _of_file(home)
    if name == "default":
        return default()
    if name.endswith(".toml"):
        if not Path(name).exists():
            raise PolicyError(f"There is no {name}.", "Name a file, current, file, default, or a version.")
        return load(Path(name))
    return find(kept, name)


def _of_file(home: Path) -> Policy:
    """What policy.toml says; that it is not there is told, for what is served then is the default."""
    file = home / "policy.toml"
    if not file.exists():
        why = f"there is no {file}" if home.is_dir() else f"{home} is not a home"
        print(f"huozhao: {why}: this is the default policy.", file=sys.stderr)
    return load(file)
