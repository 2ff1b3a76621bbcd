"""What is known, and when: the log, its records, and the fold that turns them into features.

A log of records (``records``, ``log``, ``live``) is folded into a ``FeatureState``; a ``FeatureSet`` declares what a
``Reader`` reads of it at a moment (offset, now_ms); ``features.replay`` reads it at the moments of the past. Training
and serving call the same fold and the same reader, and nothing else is state.
"""

from typing import TYPE_CHECKING

from features.deferred import deferred
from features.errors import HuozhaoError
from features.records import Action, Context, Control, Erase, Event, Item, Kind, Record, Served, User, decode, encode
from features.schema import FeatureSet
from features.standard import standard

if TYPE_CHECKING:
    from features.logs.archive import Archive
    from features.logs.live import HomeLog
    from features.logs.log import EventLog
    from features.pages import Moment
    from features.replay import Readers, read_moments
    from features.state import FeatureState
else:
    __getattr__ = deferred(
        __name__,
        {
            "Archive": "features.logs.archive",
            "EventLog": "features.logs.log",
            "FeatureState": "features.state",
            "HomeLog": "features.logs.live",
            "Moment": "features.pages",
            "Readers": "features.replay",
            "read_moments": "features.replay",
        },
    )

__all__ = [
    "Action",
    "Archive",
    "Context",
    "Control",
    "Erase",
    "Event",
    "EventLog",
    "FeatureSet",
    "FeatureState",
    "HomeLog",
    "HuozhaoError",
    "Item",
    "Kind",
    "Moment",
    "Readers",
    "Record",
    "Served",
    "User",
    "decode",
    "encode",
    "read_moments",
    "standard",
]
