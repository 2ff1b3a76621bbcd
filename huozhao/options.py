"""Options that many commands take."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Home = Annotated[Path | None, Parameter(name="--home", show_default=False)]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lte=2**32 - 1))]
Flag = Annotated[bool, Parameter(negative=())]


def home_of(home: Path | None) -> Path:
    """The home that was named, else that of the environment."""
    return home or Path(os.environ.get("HUOZHAO_HOME") or ".huozhao")


def refuse_given(where: str, **given: object) -> None:
    """Refuse an option that says nothing there: it must not be passed over in silence."""
    from features.errors import RequestError

    for name, value in given.items():
        if value is not None:
            raise RequestError(f"--{name} says nothing {where}.", "Leave it out; see huozhao simulate --help.")
