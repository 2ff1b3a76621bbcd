"""Models that LightGBM itself scores: read by another process first, as some damage ends the process that reads it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.errors import BundleError

if TYPE_CHECKING:
    from lightgbm import Booster

_TRY = """
import json, sys, lightgbm, numpy
for name, text in json.load(sys.stdin).items():
    print("head " + repr(name), flush=True)
    booster = lightgbm.Booster(model_str=text)
    booster.predict(numpy.zeros((1, booster.num_feature())), num_threads=1)
"""


def open_boosters(models: Mapping[str, str]) -> "tuple[Booster, ...]":
    """LightGBM's own boosters of model texts by head.

    Raises
    ------
    BundleError
        If LightGBM cannot read a text; where it ends its process over that, it is not this one.
    """
    from lightgbm import Booster  # noqa: PLC0415  a second to import, for the fallback alone

    tried = subprocess.run(  # noqa: S603  this Python, and a script of ours
        [sys.executable, "-P", "-c", _TRY],
        input=json.dumps(dict(models)),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if tried.returncode:
        lines = tried.stdout.splitlines()
        where = next((line for line in reversed(lines) if line.startswith("head ")), "the heads")
        told = [line for line in (lines + tried.stderr.splitlines()) if "[Fatal]" in line]
        why = told[-1].partition("[Fatal] ")[2] if told else f"it ended with code {tried.returncode}"
        raise BundleError(f"LightGBM cannot read the text of {where}: {why}.", "Save the model again.")
    return tuple(Booster(model_str=text) for text in models.values())
