"""The models in the folder: found, loaded in the background, swapped without losing a request, unloaded when idle.

Which models and versions are served follows ``models.config`` as in TensorFlow Serving (its guide "Tensorflow Serving
Configuration"): by default the newest version of each, else those of ``model_version_policy``. A version that cannot be
loaded is told in its status and in the log, and is tried again when its files change; meanwhile the newest version that
can be loaded is served.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import versions_of
from kerasortho.serving.folder import configured_models
from kerasortho.serving.metrics import Metrics
from kerasortho.serving.refusal import Refusal, invalid
from kerasortho.serving.servable import Servable, load

State = ModelVersionStatus.State
logger = logging.getLogger(__name__)
_Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass
class _Version:
    """A version that was found: its state, and while it is loaded, the servable and how many requests use it."""

    state: int = ModelVersionStatus.START
    problem: str = ""
    servable: Servable | None = None
    users: int = 0
    fingerprint: _Fingerprint = ()  # of the files that could not be loaded


class Repository:
    """All models in a folder, kept up to date by `poll`."""

    def __init__(self, folder: Path, metrics: Metrics, *, load: Callable[[str, int, Path], Servable] = load) -> None:
        self._folder = folder
        self._metrics = metrics
        self._load = load
        self._models: dict[str, dict[int, _Version]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._problems: dict[str, str] = {}  # what was told already, by model; "" is models.config

    def poll(self) -> None:
        """Look once for what is new and what is gone; return when all of it is loaded or unloaded."""
        try:
            configured = configured_models(self._folder)
        except (KerasOrthoError, OSError) as error:  # a damaged file: go on with what is served
            self._tell("", f"{error} The models of before are served.")
            return
        self._tell("", "")
        for model in configured:
            try:
                self._update(model)
                self._tell(model.name, "")
            except Exception as error:  # such as a folder that cannot be read; the other models go on
                self._tell(model.name, f"Looking for versions of {model.name} failed: {error}")
        with self._changed:
            gone = {name: set(versions) for name, versions in self._models.items()}
        for name in gone.keys() - {model.name for model in configured}:
            self._unload(name, gone[name])
            with self._changed:
                del self._models[name]
                self._labels.pop(name, None)

    def _tell(self, name: str, problem: str) -> None:
        """Log a problem once, not at every look."""
        if problem and problem != self._problems.get(name):
            logger.error("%s", problem)
        self._problems[name] = problem

    def watch(self, seconds: float) -> None:
        """`poll` until `stop`, every so many seconds."""
        while not self._stop.wait(seconds):
            try:
                self.poll()
            except Exception:  # the next look may succeed; without looks nothing new would ever be served
                logger.exception("Looking for models failed.")

    def stop(self) -> None:
        """End `watch`, and do not wait for requests any more."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def available(self) -> dict[str, list[int]]:
        """Return the versions that answer, by model."""
        with self._changed:
            return {
                name: sorted(v for v, found in versions.items() if found.state == ModelVersionStatus.AVAILABLE)
                for name, versions in sorted(self._models.items())
            }

    def statuses(self, spec: ModelSpec) -> list[ModelVersionStatus]:
        """Return the state of one version, or of all of a model, newest first. Raises Refusal (NOT_FOUND)."""
        with self._changed:
            version = self._version_of(spec)
            found = self._models.get(spec.name, {})
            if version is not None and version not in found:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
            if not found:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
            numbers = sorted(found, reverse=True) if version is None else [version]
            return [_status(number, found[number]) for number in numbers]

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[Servable]:
        """Yield the version that ``spec`` asks for, which stays loaded until the block ends. Raises Refusal."""
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        with self._changed:
            version = self._version_of(spec)
            wanted = self._models.get(spec.name, {}) if version is None else {version: self._find(spec.name, version)}
            ready = [n for n, v in wanted.items() if v is not None and v.state == ModelVersionStatus.AVAILABLE]
            if not ready:
                asked = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
            chosen = self._models[spec.name][max(ready)]
            chosen.users += 1
            servable = chosen.servable
        assert servable is not None
        try:
            yield servable
        finally:
            with self._changed:
                chosen.users -= 1
                self._changed.notify_all()

    def _find(self, name: str, version: int) -> _Version | None:
        return self._models.get(name, {}).get(version)

    def _version_of(self, spec: ModelSpec) -> int | None:
        """Return the version that is asked for by number or label; None: whichever is the newest."""
        if spec.HasField("version"):
            return spec.version.value
        if not spec.version_label:
            return None
        version = self._labels.get(spec.name, {}).get(spec.version_label)
        if version is None:
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        return version

    def _update(self, model: ModelConfig) -> None:
        folder = self._folder / PurePosixPath(model.base_path).name
        if not folder.is_dir():  # a drive that comes back, perhaps: what is loaded stays
            return
        present = versions_of(folder)
        with self._changed:
            self._models.setdefault(model.name, {})
        served: list[int] = []
        wanted, enough = _wanted(model, present)
        for version in wanted:
            if len(served) == enough or self._stop.is_set():
                break
            if self._ensure(model.name, version, folder / str(version)):
                served.append(version)
        with self._changed:
            self._labels[model.name] = dict(model.version_labels)
            others = {v for v, found in self._models[model.name].items() if v not in served and found.servable}
            vanished = set(self._models[model.name]) - set(present) - others - set(served)
            for version in vanished:
                del self._models[model.name][version]
        if served or not wanted:
            self._unload(model.name, others)

    def _ensure(self, name: str, version: int, folder: Path) -> bool:
        """Load a version unless it is, or failed with just these files; tell whether it answers."""
        with self._changed:
            found = self._models[name].setdefault(version, _Version())
            if found.state == ModelVersionStatus.AVAILABLE:
                return True
        fingerprint = _fingerprint(folder)  # without the lock: a slow disk would hold up every request
        if found.problem and found.fingerprint == fingerprint:
            return False
        with self._changed:
            found.state, found.problem = ModelVersionStatus.LOADING, ""
        logger.info("Loading %s version %d.", name, version)
        servable, problem = None, ""
        try:
            servable = self._load(name, version, folder)
        except KerasOrthoError as error:
            problem = str(error)
            logger.error("%s version %d is not served: %s", name, version, problem)
        self._metrics.loads.labels(name, "failed" if problem else "loaded").inc()
        with self._changed:
            found.servable, found.problem, found.fingerprint = servable, problem, fingerprint
            found.state = ModelVersionStatus.END if problem else ModelVersionStatus.AVAILABLE
        if servable:
            logger.info("%s version %d is served.", name, version)
        return servable is not None

    def _unload(self, name: str, versions: set[int]) -> None:
        """Let go of versions once nobody uses them; new requests do not reach them from now on."""
        with self._changed:
            leaving = {v: self._models[name][v] for v in versions if self._models[name][v].servable}
            for found in leaving.values():
                found.state = ModelVersionStatus.UNLOADING
            self._changed.wait_for(lambda: self._stop.is_set() or not any(v.users for v in leaving.values()))
            for version, found in leaving.items():
                found.servable, found.state = None, ModelVersionStatus.END
                logger.info("%s version %d is unloaded.", name, version)
        if leaving:
            gc.collect()  # a loaded model is full of cycles


def _wanted(model: ModelConfig, present: list[int]) -> tuple[list[int], int]:
    """Return the versions to try, in that order, and how many of them are enough."""
    policy = model.model_version_policy
    newest_first = sorted(present, reverse=True)
    if policy.WhichOneof("policy_choice") == "specific":
        versions = [version for version in newest_first if version in policy.specific.versions]
        return versions, len(versions)
    if policy.WhichOneof("policy_choice") == "all":
        return newest_first, len(newest_first)
    return newest_first, max(1, policy.latest.num_versions)


def _fingerprint(folder: Path) -> _Fingerprint:
    files = []
    for path in sorted(folder.rglob("*")):
        try:
            found = path.stat()
        except OSError:  # gone while looking
            continue
        files.append((str(path.relative_to(folder)), found.st_size, found.st_mtime_ns))
    return tuple(files)


def _status(number: int, found: _Version) -> ModelVersionStatus:
    status = ModelVersionStatus(version=number, state=found.state)
    if found.problem:
        status.status.error_code = grpc.StatusCode.FAILED_PRECONDITION.value[0]
        status.status.error_message = found.problem
    else:
        status.status.error_code = 0
    return status
