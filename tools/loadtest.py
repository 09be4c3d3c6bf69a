#!/usr/bin/env python
"""Drives `kerasortho serve` with many clients and checks every answer against its image.

    python tools/loadtest.py exported limb-resnet50 images/*.png                  1, 8 and 32 clients, REST and gRPC
    python tools/loadtest.py exported bone-unet images/*.png --overload 10        ten minutes of more than it can take
    python tools/loadtest.py ... --server rest=http://host:8501,grpc=host:8500    another server: TensorFlow Serving

The model is called directly in the same run, before: that gives the answers to expect, and the speed to compare with.
Exit code 1 if any answer was wrong or missing, if 8 clients together were not faster than one alone (batching is for
that), or if the server's memory grew at overload.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import itertools
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from kerasortho.errors import KerasOrthoError
from kerasortho.export.exported import find_exported
from kerasortho.serving.settings import read_batching

BAD = b"not an image"
REFUSED = {429, 503, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
READY_S = 300  # for the server to load its models
GROWTH, SLACK_MB = 1.05, 50  # of the memory between the second and the last quarter of an overload: what may vary
OUTCOMES = ("right", "refused", "wrong", "lost")
INVALID = {400, grpc.StatusCode.INVALID_ARGUMENT}
Answer = dict[str, Any]  # the outputs for one image
Ask = Callable[[int], tuple[Any, Answer]]  # number of an image -> status, and the answer if that is OK


@dataclass
class Image:
    """A file, ready for both doors, and the answer of the model itself."""

    data: bytes
    body: bytes
    request: Any
    expected: Answer | None  # None: it must be refused


@dataclass
class Tally:
    """What the clients of one run have seen."""

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, outcome: str, seconds: float) -> None:
        with self.lock:
            self.outcomes[outcome] += 1
            if outcome == "right":
                self.seconds.append(seconds)


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks for; 1 if something is not as it should be, 2 if nothing can be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of exported models")
    parser.add_argument("model")
    parser.add_argument(
        "images", type=Path, nargs="+", help="PNG or JPEG files; those with the same answer are skipped"
    )
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument(
        "--overload",
        type=float,
        metavar="MINUTES",
        help="instead: half more clients than it has room for, some with rubbish",
    )
    parser.add_argument("--server", help="a server that runs already: rest=URL,grpc=HOST:PORT")
    options = parser.parse_args(words)
    try:
        newest, _ = find_exported(options.folder / options.model)
        model = tf.saved_model.load(str(newest)).signatures["serving_default"]
        images = distinct(model, options.model, options.images)
    except (KerasOrthoError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{options.model} version {newest.name}, {len(images)} images that differ in their answers\n")
    if options.overload:
        with server(options) as (rest, grpc_address):
            batching = read_batching(options.folder)
            room = batching.max_batch_size * (batching.max_enqueued_batches + batching.num_batch_threads)
            bad, samples = overload(images, options.model, rest, grpc_address, options.overload * 60, room * 3 // 2)
        return verdict(bad, memory_grew(samples, required=not options.server))
    print("| what | clients | images/s | p50 ms | p99 ms | right | refused | wrong | lost |")
    print("|---|---|---|---|---|---|---|---|---|")
    direct(model, images, options.seconds)
    del model
    bad, problems = 0, []
    with server(options) as (rest, grpc_address):
        for name, door in doors(images, options.model, rest, grpc_address).items():
            rates: dict[int, float] = {}
            for clients in map(int, options.clients.split(",")):
                start = time.monotonic()
                tally = drive([door() for _ in range(clients)], images, options.seconds)
                seconds = time.monotonic() - start
                bad += report(name, clients, tally, seconds)
                rates[clients] = tally.outcomes["right"] / seconds
            problems += not_faster_together(name, rates)
    return verdict(bad, problems)


def verdict(bad: int, problems: list[str]) -> int:
    """Print what is not as it should be; return the exit code."""
    problems = [*([f"{bad} answers were wrong or lost."] if bad else []), *problems]
    print("\n" + ("\n".join(f"FAILED: {problem}" for problem in problems) or "All is as it should be."))
    return int(bool(problems))


def not_faster_together(door: str, rates: dict[int, float]) -> list[str]:
    """Return the complaint if 8 clients were not answered faster, in all, than one; nothing if not both were there."""
    if not {1, 8} <= rates.keys() or rates[8] > rates[1]:
        return []
    return [f"{door}: 8 clients together get {rates[8]:.1f} images/s, one alone {rates[1]:.1f}. Is batching off?"]


def memory_grew(samples: list[float], required: bool) -> list[str]:
    """Return the complaint if the last quarter of the memory's samples (MB) lies above the second one.

    In the first quarter buffers grow to what the load needs. Where the memory is not known, that is the complaint, if
    it is ``required``.
    """
    known = [sample for sample in samples if not math.isnan(sample)]
    quarter = len(known) // 4
    if quarter < 2:
        return [f"The memory is known {len(known)} times only, which is too few to judge it."] if required else []
    before, after = statistics.median(known[quarter : 2 * quarter]), statistics.median(known[-quarter:])
    if after <= GROWTH * before + SLACK_MB:
        return []
    return [f"The server's memory grew from {before:.0f} MB (second quarter of the time) to {after:.0f} MB (last)."]


def distinct(model: Any, name: str, files: list[Path]) -> list[Image]:
    """Return images no two of which have the same answer: a swapped answer would be seen."""
    kept: list[Image] = []
    for file in files:
        data = file.read_bytes()
        try:
            expected = {k: v.numpy()[0] for k, v in model(image_bytes=tf.constant([data])).items()}
        except tf.errors.InvalidArgumentError:
            continue
        if not any(same(expected, other.expected, slack=10) for other in kept):
            kept.append(prepare(data, name, expected))
    if len(kept) < 2:
        raise KerasOrthoError("At least two readable images with different answers are needed.")
    return kept


def prepare(data: bytes, name: str, expected: Answer | None) -> Image:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([data]))
    return Image(
        data, json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]}).encode(), request, expected
    )


def same(found: Answer, expected: Answer, slack: float = 1) -> bool:
    """Tell whether two answers are equal but for the rounding that another batch size may bring."""
    if "probabilities" in expected:
        return bool(np.abs(np.subtract(found["probabilities"], expected["probabilities"])).max() <= 1e-4 * slack)
    if found["probability_png_bytes"] == expected["probability_png_bytes"]:
        return True
    first, second = (
        cv2.imdecode(np.frombuffer(a["probability_png_bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        for a in (found, expected)
    )
    return first.shape == second.shape and bool(cv2.absdiff(first, second).max() <= 1 * slack)


@contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Start `kerasortho serve` on free ports, wait until it is ready, end it; leave with its words if it is not."""
    if options.server:
        named = dict(part.split("=", 1) for part in options.server.split(","))
        yield named["rest"], named["grpc"]
        return
    command = [sys.executable, "-m", "kerasortho", "serve", str(options.folder), "--with", "embedded"]
    command += ["--rest-port", "0", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            address = re.search(r"rest=(\S+) grpc=(\S+)", process.stdout.readline())
            if not address or not becomes_ready(address[1], process):
                log.seek(0)
                sys.exit(f"The server did not start. It said:\n{log.read()}")
            yield address[1], address[2]
        finally:
            process.terminate()


def becomes_ready(rest: str, process: subprocess.Popen[str]) -> bool:
    """Wait for the server's models; False if it has ended, or needs too long."""
    end = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{rest}/readyz", timeout=10).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def doors(images: list[Image], model: str, rest: str, grpc_address: str) -> dict[str, Callable[[], Ask]]:
    """Return what makes a new client, for REST and gRPC."""

    def rest_client() -> Ask:
        connection = http.client.HTTPConnection(urlsplit(rest).netloc, timeout=600)

        def ask(number: int) -> tuple[Any, Answer]:
            try:
                connection.request("POST", f"/v1/models/{model}:predict", images[number].body)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                raise
            if response.status != 200:
                return response.status, {}
            (row,) = json.loads(content)["predictions"]
            return 200, {k: base64.b64decode(v["b64"]) if k.endswith("_bytes") else v for k, v in row.items()}

        return ask

    def grpc_client() -> Ask:
        channel = grpc.insecure_channel(
            grpc_address, options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        )
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(number: int) -> tuple[Any, Answer]:
            try:
                outputs = stub.Predict(images[number].request, timeout=600).outputs
            except grpc.RpcError as error:
                return error.code(), {}
            return 200, {name: tf.make_ndarray(value)[0] for name, value in outputs.items()}

        return ask

    return {"REST": rest_client, "gRPC": grpc_client}


def drive(clients: list[Ask], images: list[Image], seconds: float, tally: Tally | None = None) -> Tally:
    """Let every client ask for one image after another until the time is up; check every answer."""
    tally = Tally() if tally is None else tally
    numbers, end = itertools.count(), time.monotonic() + seconds

    def work(ask: Ask) -> None:
        while time.monotonic() < end:
            number = next(numbers) % len(images)
            start = time.monotonic()
            try:
                status, answer = ask(number)
            except (OSError, http.client.HTTPException):
                status, answer = None, {}
            taken = time.monotonic() - start
            outcome = judge(status, answer, images[number].expected)
            tally.note(outcome, taken)
            if outcome == "refused":
                time.sleep(0.1)

    threads = [threading.Thread(target=work, args=(ask,)) for ask in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def judge(status: Any, answer: Answer, expected: Answer | None) -> str:
    if status in REFUSED:
        return "refused"
    if expected is None and status in INVALID:
        return "right"
    if expected is None or status != 200:
        return "wrong" if status == 200 else "lost"
    return "right" if same(answer, expected) else "wrong"


def direct(model: Any, images: list[Image], seconds: float) -> None:
    """Call the model in this process: one image at a time, and eight."""
    for batch in (1, 8):
        files = itertools.cycle(image.data for image in images)
        model(image_bytes=tf.constant(list(itertools.islice(files, batch))))
        tally, start = Tally(), time.monotonic()
        while time.monotonic() < start + seconds:
            before = time.monotonic()
            model(image_bytes=tf.constant(list(itertools.islice(files, batch))))
            for _ in range(batch):
                tally.note("right", time.monotonic() - before)
        report(f"the model itself, batch {batch}", 0, tally, time.monotonic() - start)


def report(name: str, clients: int, tally: Tally, seconds: float) -> int:
    """Print a line of the table; return how many answers were wrong or lost."""
    p50, p99 = np.percentile(tally.seconds or [0], [50, 99]) * 1000
    counts = " | ".join(str(tally.outcomes[key]) for key in OUTCOMES)
    rate = tally.outcomes["right"] / seconds
    print(f"| {name} | {clients or '-'} | {rate:.1f} | {p50:.0f} | {p99:.0f} | {counts} |", flush=True)
    return tally.outcomes["wrong"] + tally.outcomes["lost"]


def overload(
    images: list[Image], model: str, rest: str, grpc_address: str, seconds: float, count: int
) -> tuple[int, list[float]]:
    """Ask for more than the server can do, for long, one in ten times with rubbish; watch its memory.

    Returns how many answers were wrong or lost, and the memory in MB over the time.
    """
    images = [*images * (1 + 9 // len(images)), prepare(BAD, model, None)]
    made = doors(images, model, rest, grpc_address)
    clients = [made["REST" if number % 2 else "gRPC"]() for number in range(count)]
    tally, done = Tally(), threading.Event()
    samples: list[float] = []
    watcher = threading.Thread(target=watch, args=(tally, rest, seconds, done, samples))
    watcher.start()
    start = time.monotonic()
    drive(clients, images, seconds, tally)
    taken = time.monotonic() - start  # longer than asked for: the last answers are waited for
    done.set()
    watcher.join()
    return report("all", len(clients), tally, taken), samples


def watch(tally: Tally, rest: str, seconds: float, done: threading.Event, samples: list[float]) -> None:
    """Print twenty times what the server's memory is, and how many answers there were until then; note the memory."""
    start = time.monotonic()
    print("| minute | server's memory, MB | right | refused | wrong | lost |\n|---|---|---|---|---|---|", flush=True)
    while not done.wait(seconds / 20):
        counts = " | ".join(str(tally.outcomes[key]) for key in OUTCOMES)
        samples.append(memory(rest))
        print(f"| {(time.monotonic() - start) / 60:.1f} | {samples[-1]:.0f} | {counts} |", flush=True)


def memory(rest: str) -> float:
    """Return the server's resident memory in MB, as it tells it; NaN where it does not, or has no time now."""
    try:
        with urllib.request.urlopen(f"{rest}/monitoring/prometheus/metrics", timeout=30) as response:
            found = re.search(rb"^process_resident_memory_bytes (\S+)", response.read(), re.MULTILINE)
    except (OSError, http.client.HTTPException):
        return float("nan")
    return float(found[1]) / 1e6 if found else float("nan")


if __name__ == "__main__":
    sys.exit(main())
