"""HTTP connections with two bounds that uvicorn does not set: how many, and how long one may be silent."""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_BODY = b'{"error": "The server has too many connections. Send the request again later."}'
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedHTTP(H11Protocol):
    """Uvicorn's HTTP connection; one beyond ``most`` is told so and closed."""

    def __init__(self, *words: Any, most: int, **options: Any) -> None:
        super().__init__(*words, **options)
        self._most = most

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        # asyncio does so itself, but not for a listening socket that was made outside it. Otherwise the body of an
        # answer waits until the client has acknowledged the header: 40 ms on a connection that is kept.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self._most:
            transport.write(_REFUSAL)
            transport.close()
        else:
            self._close_if_silent()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._close_if_silent()

    def _close_if_silent(self) -> None:
        """Start the clock where uvicorn has none: before the first request, and while only part of one has come."""
        waiting = self.cycle is None or self.cycle.response_complete
        if waiting and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )


def bounded(most: int) -> Any:
    """Return what makes a connection, for ``uvicorn.Config(http=...)``."""
    return functools.partial(BoundedHTTP, most=most)
