"""What ``huozhao keys`` does."""

import sys
from collections.abc import Sequence
from pathlib import Path

from huozhao import home as homes
from serving import keys


def add(home: Path, name: str, scopes: Sequence[str], per_second: float) -> None:
    """Make a key of a home and print it."""
    homes.refuse_missing(home)
    print(keys.add(home, name, scopes, per_second))


def show(home: Path) -> None:
    """Print the keys of a home, one a line."""
    homes.refuse_missing(home)
    found = keys.read(home)
    if not found:
        print(f"huozhao: {home} has {_none(home)}.", file=sys.stderr)
    for key in found:
        limit = f"  {key.per_second:g} a second" if key.per_second else ""
        print(f"{key.name}  {' '.join(key.scopes)}{limit}")


def revoke(home: Path, name: str) -> None:
    """Take a key of a home back."""
    homes.refuse_missing(home)
    keys.revoke(home, name)
    print(f"Key {name} is revoked.")
    if not keys.read(home):
        print(f"huozhao: {home} has {_none(home)}.", file=sys.stderr)


def _none(home: Path) -> str:
    """What it means that a home has no key: one that never had any asks for none."""
    had = (home / keys.FILE).exists()
    return "no key any more: its server refuses everybody until one is added" if had else "no keys"
