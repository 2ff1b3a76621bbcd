"""The policy: what an operator decides, as data with a version. A mistake in it is refused by its key and its line.

``default.toml`` shows every key with its meaning; each table has a module and a struct of its own, ``Policy`` holds
them together, ``reading`` makes one of a text and ``lines`` says where in the text a key stands.
"""

from ranking.policy.explore import Explore
from ranking.policy.page import Bound, Light, Rerank, Surface
from ranking.policy.policy import Policy
from ranking.policy.reading import DEFAULT_TOML, default, load, parse, read
from ranking.policy.suppress import Suppress

__all__ = [
    "DEFAULT_TOML",
    "Bound",
    "Explore",
    "Light",
    "Policy",
    "Rerank",
    "Suppress",
    "Surface",
    "default",
    "load",
    "parse",
    "read",
]
