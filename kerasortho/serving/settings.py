"""How much the embedded server takes on: batching as ``batching.config`` says, and the limits on requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kerasortho.errors import KerasOrthoError, did_you_mean
from kerasortho.export.server_files import BATCHING, BATCHING_CONFIG

# Fields of TensorFlow Serving's BatchingParameters that mean nothing here.
MEGABYTE = 1 << 20  # bytes: the unit of --max-request-mb and --max-waiting-mb
_IGNORED = (
    "thread_pool_name", "allowed_batch_sizes", "pad_variable_length_inputs", "enable_large_batch_splitting",
    "max_execution_batch_size",
)  # fmt: skip
_WRAPPED = re.compile(r"(\w+)\s*:?\s*\{\s*value\s*:\s*(\S+?)\s*,?\s*\}|(\w+)\s*:\s*[^\s{]+")


@dataclass(frozen=True)
class Batching:
    """How requests are answered together; the names are those of TensorFlow Serving's BatchingParameters.

    Attributes:
        max_batch_size: images (first dimension) answered together; a request with more is refused.
        batch_timeout_micros: how long the first of a batch waits for others, in microseconds.
        max_enqueued_batches: full batches of one signature of one version that may wait; then requests are refused.
        num_batch_threads: batches that are computed at the same time.
    """

    max_batch_size: int
    batch_timeout_micros: int
    max_enqueued_batches: int
    num_batch_threads: int


@dataclass(frozen=True)
class Limits:
    """What one client, and all of them together, may send.

    Attributes:
        request_bytes: largest body of a request (REST) or message (gRPC).
        waiting_bytes: of all requests being received or answered, together; more is refused.
        upload_seconds: how long a request's body (REST) or message (gRPC) may take to arrive.
        download_seconds: how long a client may take to receive the answer (REST).
        connections: that are open at the same time, at each of the two doors.
        grace_seconds: how long running requests are waited for when the server stops.
    """

    request_bytes: int = 128 << 20
    waiting_bytes: int = 1 << 30
    upload_seconds: float = 60.0
    download_seconds: float = 60.0
    connections: int = 400  # with 1024 open files, as many systems allow a process, some are left for models
    grace_seconds: float = 30.0


def megabytes(size: int) -> str:
    """Return a number of bytes in the unit in which limits are set, `MEGABYTE`."""
    count = f"{size / MEGABYTE:,.1f}".removesuffix(".0")
    return "less than 0.1 MB" if count == "0" else f"{count} MB"


def read_batching(folder: Path) -> Batching:
    """Return what ``batching.config`` in ``folder`` says; where it says nothing, what `kerasortho export` writes."""
    file = folder / BATCHING_CONFIG
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return Batching(**{**_parse(BATCHING, file), **_parse(text, file)})


def _parse(text: str, file: Path) -> dict[str, int]:
    found = {}
    known = Batching.__dataclass_fields__
    for name, value, plain in _WRAPPED.findall(re.sub("#.*", "", text)):
        if name in known:
            least = 0 if name == "batch_timeout_micros" else 1
            if not value.isdecimal() or int(value) < least:
                raise KerasOrthoError(f"{file}: {name} must be a whole number from {least} on. Received: {value!r}.")
            found[name] = int(value)
        elif (name or plain) not in _IGNORED:
            word = name or plain
            hint = did_you_mean(word, known) or f" Known: {', '.join(known)}, each as in {word} {{ value: 8 }}."
            raise KerasOrthoError(f"{file}: {word!r} is no batching parameter in this form.{hint}")
    return found
