"""The server: bind, open, serve until told to stop, drain, close."""

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from ranking.engine import Engine
from serving.foreign import check_packages
from serving.http import create_app
from serving.settings import Settings, SettingsError

DRAIN_S = 10
"""How long requests that have begun may take after the server was told to stop."""


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve a home until SIGTERM or SIGINT; requests that have begun are answered before the engine is closed.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Told the server's address once requests are taken.

    Raises
    ------
    SettingsError
        If the address is taken, or open to others without leave.
    ForeignPackageError
        If one of our packages is not ours.
    BundleError, LogError, PolicyError
        If the home cannot be served.
    """
    check_packages()
    settings.check()
    with _bound(settings) as bound:
        # The application closes the engine, after the last answer: a signal may end the process before we return.
        app = create_app(Engine.open(settings.folder))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_S
        )
        host, port = bound.getsockname()[:2]
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[bound])


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SettingsError(f"Cannot serve on {where}: {error.strerror}.", "Choose another with --port.") from error
