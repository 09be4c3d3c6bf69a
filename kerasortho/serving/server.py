"""The embedded server: both doors in one process, started and stopped without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf
import uvicorn

from kerasortho.errors import KerasOrthoError
from kerasortho.serving.backend import Backend
from kerasortho.serving.batching import Batcher
from kerasortho.serving.folder import require_models
from kerasortho.serving.grpc_service import Receiver, make_server
from kerasortho.serving.http_connections import bounded
from kerasortho.serving.metrics import Metrics
from kerasortho.serving.repository import Repository
from kerasortho.serving.rest import make_app
from kerasortho.serving.settings import Limits, read_batching

POLL_SECONDS = 2.0
SILENT_SECONDS = 75  # until a connection without a request is closed
LAST_SECONDS = 5  # for answers that are on their way to clients when the server ends
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Addresses:
    """Where the server listens. Port 0 stands for any that is free."""

    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500

    @property
    def rest(self) -> str:
        return f"http://{self._host}:{self.rest_port}"

    @property
    def grpc(self) -> str:
        return f"{self._host}:{self.grpc_port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class EmbeddedServer:
    """Serves the models of a folder over REST and gRPC.

    Example::

        EmbeddedServer(Path("exported"), Addresses()).run()   # until SIGTERM or Ctrl-C

    Raises KerasOrthoError if the folder has no models or its files are damaged.
    """

    def __init__(
        self, folder: Path, addresses: Addresses, *, limits: Limits | None = None, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._wanted = addresses
        self._poll_seconds = poll_seconds
        require_models(folder)
        metrics = Metrics()
        self.repository = Repository(folder, metrics)
        self.backend = Backend(self.repository, Batcher(read_batching(folder), metrics), metrics, limits or Limits())
        self.receiver = Receiver(self.backend.limits)
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watcher = threading.Thread(target=self._watch, name="repository", daemon=True)

    def run(self, started: Callable[[Addresses], None] = lambda addresses: None) -> None:
        """Serve until `stop`, or in the main thread SIGTERM or Ctrl-C; the second of these ends at once.

        started: called with the real addresses once both doors are open; models may still be loading.
        """
        try:
            asyncio.run(self._run(started))
        except Exception:  # such as a port in use; but the second Ctrl-C waits for nothing
            self._finish_threads()
            raise
        finally:
            self._loop = None

    def stop(self) -> None:
        """Refuse new requests, answer those that run, and end. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _run(self, started: Callable[[Addresses], None]) -> None:
        self._loop = asyncio.get_running_loop()
        for gpu in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
        grpc_server = make_server(self.backend, self.receiver)
        with contextlib.closing(_listen(self._wanted)) as rest_socket, self._signals():
            addresses = Addresses(self._wanted.host, rest_socket.getsockname()[1], _bind(grpc_server, self._wanted))
            rest_server = _Uvicorn(self._rest_config())
            await grpc_server.start()
            rest_task = asyncio.create_task(rest_server.serve([rest_socket]))
            self._watcher.start()
            started(addresses)
            await self._stop.wait()
            await self._finish_requests()
            rest_server.should_exit = True
            await asyncio.gather(rest_task, grpc_server.stop(LAST_SECONDS))
            await asyncio.to_thread(self._finish_threads)  # in here: a second signal ends the process at once

    def _rest_config(self) -> uvicorn.Config:
        return uvicorn.Config(
            make_app(self.backend), http=bounded(self.backend.limits.connections), ws="none", log_config=None,
            access_log=False, lifespan="off", timeout_keep_alive=SILENT_SECONDS, timeout_graceful_shutdown=LAST_SECONDS,
        )  # fmt: skip

    async def _finish_requests(self) -> None:
        self.backend.stopping = True
        logger.info("Stopping: answering what has been asked.")
        deadline = self._running_loop.time() + self.backend.limits.grace_seconds
        while self.backend.running and self._running_loop.time() < deadline:
            await asyncio.sleep(0.02)
        if self.backend.running:
            logger.warning("%d requests were not answered in time.", self.backend.running)
        self.backend.batcher.refuse_waiting()

    @property
    def _running_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def _finish_threads(self) -> None:
        self.repository.stop()
        if self._watcher.ident is not None:  # it was started
            self._watcher.join()
        self.backend.batcher.stop()

    def _watch(self) -> None:
        gc.freeze()  # collecting an unloaded model shall not look through all of TensorFlow: that holds everybody up
        self.repository.poll()
        self.backend.loaded = True
        if not self.backend.stopping:
            logger.info("Ready." if self.backend.ready else "No model can be served yet; see above.")
        self.repository.watch(self._poll_seconds)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop on SIGTERM and Ctrl-C; the second time as Python does without us."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def handle(number: int, frame: object) -> None:
            for each, handler in before.items():
                signal.signal(each, handler)
            self.stop()

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Uvicorn(uvicorn.Server):
    """Uvicorn that leaves the signals to `EmbeddedServer`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(addresses: Addresses) -> socket.socket:
    try:
        return _socket(addresses.host, addresses.rest_port)
    except OSError as error:
        raise _not_bound(error, "REST", addresses.rest, "--rest-port") from None


def _bind(server: object, addresses: Addresses) -> int:
    try:
        port = server.add_insecure_port(addresses.grpc)  # type: ignore[attr-defined]
    except RuntimeError:
        port = 0
    if port:
        return int(port)
    try:  # gRPC does not tell the reason
        _socket(addresses.host, addresses.grpc_port).close()
        reason = OSError("gRPC gives no reason")
    except OSError as error:
        reason = error
    raise _not_bound(reason, "gRPC", addresses.grpc, "--port")


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def _not_bound(error: OSError, protocol: str, address: str, option: str) -> KerasOrthoError:
    if error.errno == errno.EADDRINUSE:
        return KerasOrthoError(
            f"Another program listens at {address} already, the address for {protocol}. Choose another port with "
            f"{option}, or end that program."
        )
    return KerasOrthoError(
        f"Cannot listen at {address}, the address for {protocol}: {error.strerror or error}. Are --host and {option} "
        "right? Ports below 1024 are often reserved."
    )
