"""serving: the engine kept alive, over HTTP.

``serve`` opens a home and answers until it is told to stop; ``create_app`` is the application alone. Here and nowhere
below are the clock, the environment and the names of requests. Every error has one shape and a stable code.
"""

from serving.foreign import ForeignPackageError, check_packages
from serving.http import create_app
from serving.run import serve
from serving.settings import Settings, SettingsError

__all__ = ["ForeignPackageError", "Settings", "SettingsError", "check_packages", "create_app", "serve"]
