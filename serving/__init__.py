"""serving: the engine kept alive, over HTTP.

``serve`` opens a home and answers until it is told to stop; ``create_app`` is the application alone; ``serving.client``
asks it, and needs none of them. Here and nowhere below are the clock, the environment and the names of requests. Every
error has one shape and a stable code.
"""

from typing import TYPE_CHECKING

from features.deferred import deferred

if TYPE_CHECKING:
    from serving.application import create_app
    from serving.foreign import ForeignPackageError, check_packages
    from serving.run import check_address, serve
    from serving.settings import Settings, SettingsError
else:
    __getattr__ = deferred(
        __name__,
        {
            "ForeignPackageError": "serving.foreign",
            "Settings": "serving.settings",
            "SettingsError": "serving.settings",
            "check_address": "serving.run",
            "check_packages": "serving.foreign",
            "create_app": "serving.application",
            "serve": "serving.run",
        },
    )

__all__ = [
    "ForeignPackageError",
    "Settings",
    "SettingsError",
    "check_address",
    "check_packages",
    "create_app",
    "serve",
]
