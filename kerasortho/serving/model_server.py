"""TensorFlow Serving itself: `tensorflow_model_server` on this machine, or the command that starts it in Docker."""

from __future__ import annotations

import logging
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import BATCHING_CONFIG, COMPOSE, MODELS_CONFIG, MONITORING_CONFIG
from kerasortho.files import write_text
from kerasortho.serving.folder import configured_models, require_models

BINARY = "tensorflow_model_server"
_POLL_SECONDS = 5
_STOP_SECONDS = 60
logger = logging.getLogger(__name__)


def find_model_server() -> str | None:
    """Return the path of TensorFlow Serving's program; None where it is not installed."""
    return shutil.which(BINARY)


def docker_works() -> bool:
    """Tell whether there is a Docker daemon that answers."""
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def docker_command(folder: Path) -> str:
    """Return the command that starts TensorFlow Serving in Docker on all models of ``folder``."""
    return f"docker compose --file {shlex.quote(str(folder / COMPOSE))} up"


def run_model_server(binary: str, folder: Path, *, rest_port: int, grpc_port: int) -> int:
    """Start TensorFlow Serving on ``folder`` and wait for its end; SIGTERM and Ctrl-C are passed on. Returns its code.

    It gets the files beside the models; only ``models.config``, whose paths are those of the container, is rewritten
    into a temporary file, now and whenever it changes. It never outlives this function. Raises KerasOrthoError if the
    folder has no models.
    """
    require_models(folder)
    with tempfile.TemporaryDirectory(prefix="kerasortho-serve-") as temporary:
        config = Path(temporary) / MODELS_CONFIG
        _rewrite_config(folder, config)
        process: subprocess.Popen[bytes] | None = None
        stopped = False

        def pass_on(number: int, frame: object) -> None:
            nonlocal stopped
            stopped = True
            if process is not None:
                process.terminate()

        # before it is started: a signal in between would leave it behind
        before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            process = subprocess.Popen([binary, *_options(folder, config, rest_port, grpc_port)])
            if stopped:
                process.terminate()
            code = _wait(process, folder, config)
            return 0 if stopped and code < 0 else code  # it has no handler of its own: the signal is an orderly end
        finally:
            if process is not None:
                _end(process)
            for number, handler in before.items():
                signal.signal(number, handler)


def _wait(process: subprocess.Popen[bytes], folder: Path, config: Path) -> int:
    """Return the exit code; until then keep ``config`` as ``models.config`` is."""
    told = ""
    while True:
        try:
            return process.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            _rewrite_config(folder, config)
            told = ""
        except (KerasOrthoError, OSError) as error:  # half saved, perhaps: the next look may succeed
            if str(error) != told:
                logger.error("%s The models of before are served.", error)
            told = str(error)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _options(folder: Path, config: Path, rest_port: int, grpc_port: int) -> list[str]:
    options = [
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={config}",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    if (folder / BATCHING_CONFIG).exists():
        options += ["--enable_batching=true", f"--batching_parameters_file={(folder / BATCHING_CONFIG).resolve()}"]
    if (folder / MONITORING_CONFIG).exists():
        options.append(f"--monitoring_config_file={(folder / MONITORING_CONFIG).resolve()}")
    return options


def _rewrite_config(folder: Path, target: Path) -> None:
    config = ModelServerConfig()
    for model in configured_models(folder):
        model.base_path = str((folder / PurePosixPath(model.base_path).name).resolve())
        config.model_config_list.config.append(model)
    text = text_format.MessageToString(config)
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        write_text(target, text)
