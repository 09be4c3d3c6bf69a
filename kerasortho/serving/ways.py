"""The ways that lead to one model's answer: Keras, the SavedModel, REST, gRPC, and every converted format.

Each takes a file, as a user would give it, and also the preprocessed tensor: a served segmenter's map has 8 bits for a
file, all of them for a tensor.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from kerasortho.config import Task
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Prediction, Predictor
from kerasortho.export.card import read_card
from kerasortho.export.edge_files import RESULTS
from kerasortho.export.formats import open_model
from kerasortho.export.saved_model import SavedModel
from kerasortho.export.server_files import write_server_files
from kerasortho.export.signatures import DEFAULT_SIGNATURE, IMAGE_BYTES
from kerasortho.files import read_json, sha256_file
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess, to_native
from kerasortho.radiograph.reading import read_radiograph
from kerasortho.serving.client import ServerPredictor
from kerasortho.serving.connection import connect, plain_row
from kerasortho.serving.refusal import from_error
from kerasortho.serving.server import Addresses, EmbeddedServer
from kerasortho.training.run import RunDirectory

START_S = 300.0  # for the server to load a model


class Way(Protocol):
    """A way to a model's answer."""

    name: str

    def file(self, file: Path) -> Prediction | KerasOrthoError:
        """Return the answer to a file, or why there is none."""

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """Return the probabilities for ``image`` (h, w) float32, preprocessed: (C,), or (h, w) of the foreground."""


class KerasWay:
    """The run's own model, as `kerasortho predict` uses it."""

    name = "keras"

    def __init__(self, run: RunDirectory) -> None:
        self._predictor = Predictor(run, batch_size=1)

    def file(self, file: Path) -> Prediction | KerasOrthoError:
        """See Way."""
        return next(iter(self._predictor.predict([file])))

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Way."""
        return self._predictor.ask(image[None])[0]


class SavedModelWay:
    """The exported model in this process: encoded files in, as a server has it."""

    name = "savedmodel"

    def __init__(self, folder: Path) -> None:
        self._model = SavedModel(folder)
        self._answer = self._model.loaded.signatures[DEFAULT_SIGNATURE]
        self._client = ServerPredictor.of(self, str(folder))

    def outputs(self) -> set[str]:
        """See `kerasortho.serving.connection.Connection`."""
        return set(self._answer.structured_outputs)

    def ask(self, image: bytes) -> Mapping[str, Any]:
        """See `kerasortho.serving.connection.Connection`."""
        try:
            return plain_row(self._answer(**{IMAGE_BYTES: tf.constant([image])}))
        except tf.errors.InvalidArgumentError as error:
            raise KerasOrthoError(from_error(error).message) from None  # in the words that a server would use

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Way."""
        return self._model.answers(image[None])[0]

    def file(self, file: Path) -> Prediction | KerasOrthoError:
        """See Way."""
        return next(iter(self._client.predict([file])))


class ServerWay:
    """A server, by REST or gRPC."""

    def __init__(self, name: str, server: str, model: str) -> None:
        self.name = name
        self._client = ServerPredictor(server, model)
        self._connection = connect(server, model)

    def file(self, file: Path) -> Prediction | KerasOrthoError:
        """See Way."""
        return next(iter(self._client.predict([file])))

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Way."""
        return self._connection.tensor(image)


class FormatWay:
    """A converted model for edge devices."""

    def __init__(self, name: str, file: Path, card: Mapping[str, Any]) -> None:
        self.name = name
        self._network = open_model(name, file.read_bytes(), 2)
        self._spec = Preprocessing.from_dict(card["preprocessing"])
        self._task: Task = card["task"]

    def file(self, file: Path) -> Prediction | KerasOrthoError:
        """See Way."""
        try:
            radiograph = read_radiograph(file)
        except KerasOrthoError as error:
            return error
        image, box = preprocess(radiograph.pixels, self._spec)
        answer = self._network(image)
        answer = answer if self._task == "classification" else to_native(answer, box)
        return Prediction(file, box.shape, radiograph.spacing_mm, radiograph.warnings, answer, None)

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """See Way."""
        return np.asarray(self._network(image))


def formats_of(folder: Path) -> list[FormatWay]:
    """Return the converted models of the exported version in ``folder``. Raises KerasOrthoError for an altered file."""
    card = read_card(folder)
    edge = folder.parent / f"edge-{card['version']}"
    results = read_json(edge / RESULTS)["formats"] if (edge / RESULTS).is_file() else {}
    ways = []
    for name, found in results.items():
        if "file" not in found:
            continue  # it failed, and was not written
        file = edge / found["file"]
        if not file.is_file() or sha256_file(file) != found["sha256"]:
            raise KerasOrthoError(f"{file} is not what {RESULTS} describes. Convert again with `kerasortho convert`.")
        ways.append(FormatWay(name, file, card))
    return ways


@contextmanager
def served(folder: Path) -> Iterator[list[ServerWay]]:
    """Serve the exported version in ``folder`` from this process, and yield the ways to it by REST and gRPC."""
    name, version = folder.parent.name, folder.name
    started, where = threading.Event(), []

    def tell(addresses: Addresses) -> None:
        where.append(addresses)
        started.set()

    with tempfile.TemporaryDirectory() as alone:  # other models beside it would be loaded, too
        (Path(alone) / name).mkdir()
        (Path(alone) / name / version).symlink_to(folder.resolve())
        write_server_files(Path(alone))
        server = EmbeddedServer(Path(alone), Addresses(rest_port=0, grpc_port=0))
        thread = threading.Thread(target=server.run, args=(tell,), daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_S
            while not (started.is_set() and server.repository.available().get(name)):
                if time.monotonic() > deadline or not thread.is_alive():
                    raise KerasOrthoError(f"The embedded server could not serve {folder}.")
                time.sleep(0.05)
            model = f"{name}/versions/{version}"
            yield [ServerWay("rest", where[0].rest, model), ServerWay("grpc", f"grpc://{where[0].grpc}", model)]
        finally:
            server.stop()
            thread.join(60)
