"""Listening: uvicorn, with graceful shutdown, announcing its address once it listens."""

from collections.abc import Callable
from typing import Any

from inceptive.errors import InceptiveError, reason, requires

with requires("serve needs uvicorn", "serve"):
    import uvicorn


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, say: Callable[[str], None]):
        super().__init__(config)
        self.say = say

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                where = f"[{host}]" if ":" in host else host
                self.say(f"listening on http://{where}:{port}; stop with Ctrl-C")


def listen(app: Any, host: str, port: int, seconds: float, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests in progress then have `seconds` to finish.

    A SIGTERM is re-raised once all are answered. Raises InceptiveError if it cannot listen there.
    """
    config = uvicorn.Config(
        app,
        host,
        port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(seconds)),
    )
    try:
        _Server(config, say).run()
    except KeyboardInterrupt:
        pass
    except SystemExit as stop:  # raised while it handles the OSError that says why
        why = reason(stop.__context__ or stop).rpartition(": ")[2]  # the address is named below
        raise InceptiveError(
            f"cannot listen on {host}:{port} ({why}); try another host or port"
        ) from None
