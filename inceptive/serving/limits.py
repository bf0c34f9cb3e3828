"""Limits on requests: body size, and authorisation."""

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """body: bytes of a request; images: in one request; waiting: images in the queue; seconds: until
    an answer; token: the required `Authorization: Bearer` token, "" for none."""

    body: int = 64 * MIB
    images: int = 64
    waiting: int = 256
    seconds: float = 30.0
    token: str = ""


class TooLarge(Exception):
    """The body is longer than allowed."""


class Guard:
    """ASGI middleware: refuses large bodies (413) and missing tokens (401) before anything is read.

    A body of unknown length is counted as it arrives.
    """

    def __init__(self, app: Any, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        if not self._allowed(scope["path"], headers):
            await _refuse(send, 401, "the token is missing or wrong: Authorization: Bearer TOKEN")
            return
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.body:
            await self._drain(receive)
            await _refuse(send, 413, self._reason())
            return
        read, started = 0, False

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limits.body:
                raise TooLarge
            return message

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except TooLarge:
            if not started:
                await self._drain(receive)
                await _refuse(send, 413, self._reason())

    async def _drain(self, receive: Any) -> None:
        """Throw away what still comes, as much again as is allowed: who is cut off while sending never
        reads why. For as long as an answer may take."""
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.seconds):
                while read <= self.limits.body:
                    message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    read += len(message.get("body", b""))

    def _allowed(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if not self.limits.token or path in ("/", "/healthz"):
            return True
        authorization = headers.get(b"authorization", b"")
        return secrets.compare_digest(authorization, b"Bearer " + self.limits.token.encode())

    def _reason(self) -> str:
        return f"a request holds at most {self.limits.body / MIB:g} MiB"


async def _refuse(send: Any, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
