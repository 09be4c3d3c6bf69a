"""`kerasortho serve` as users start it: which server, what it says, how it ends."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("fastapi")

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from kerasortho.cli.main import main
from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import write_server_files
from kerasortho.serving import model_server
from kerasortho.serving import server as server_module

ROOT = Path(__file__).parents[2]
png = runpy.run_path(str(ROOT / "tests" / "serving_contract" / "images.py"))["png"]
SERVE = [sys.executable, "-m", "kerasortho", "serve"]


@contextmanager
def held_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


@contextmanager
def ended_with_the_test(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process where the test fails, which would wait for it otherwise."""
    try:
        yield
    except BaseException:
        process.terminate()
        raise


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_sigterm_answers_what_was_asked_and_says_what_happens(models: Path) -> None:
    """In a process of its own: the request waits two seconds for others to join its batch; SIGTERM comes before."""
    (models / "batching.config").write_text("batch_timeout_micros { value: 2000000 }")
    command = [*SERVE, str(models), "--with", "embedded", "--rest-port", "0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        address = re.search(r"rest=(\S+) grpc=(\S+)", process.stdout.readline())
        assert address

        def ask() -> list[object]:
            url, body = f"{address[1]}/v1/models/bone:predict", json.dumps({"instances": ["file"]}).encode()
            with urllib.request.urlopen(url, body, timeout=60) as response:
                return list(json.load(response)["predictions"])

        def status(path: str) -> int:
            try:
                with urllib.request.urlopen(address[1] + path, timeout=60) as response:
                    return int(response.status)
            except urllib.error.HTTPError as error:
                return error.code

        wait_for(lambda: status("/readyz") == 200)
        with ThreadPoolExecutor(1) as client:
            answer = client.submit(ask)
            waiting = "kerasortho_serving_waiting_images 1.0"
            wait_for(
                lambda: waiting in urllib.request.urlopen(f"{address[1]}/monitoring/prometheus/metrics").read().decode()
            )
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: status("/readyz") == 503)
            assert len(answer.result()) == 1
        assert process.wait(30) == 0
        log = process.stderr.read()
    assert "bone version 1 is served." in log and "Ready." in log and "Stopping" in log
    assert "Traceback" not in log


def test_the_log_holds_nothing_of_damaged_images(exported: Path) -> None:
    """TensorFlow's decoders write of them on stderr themselves, with their first bytes."""
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (256, 256), np.uint8))[1].tobytes()
    command = [*SERVE, str(exported), "--with", "embedded", "--rest-port", "0", "--port", "0"]
    # Where it is set, the user wants TensorFlow's start-up lines; an earlier test may have set it in this process.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, **pipes, cwd=ROOT, env=environment) as process,
        ended_with_the_test(process),
    ):
        assert process.stdout is not None and process.stderr is not None
        address = re.search(r"rest=(\S+)", process.stdout.readline())
        assert address

        def status(path: str, body: bytes | None = None) -> int:
            try:
                with urllib.request.urlopen(address[1] + path, body, timeout=60) as response:
                    return int(response.status)
            except urllib.error.HTTPError as error:
                return error.code

        wait_for(lambda: status("/readyz") == 200)
        for image in (b"hello", jpeg[: len(jpeg) // 2], jpeg[:2] + b"x" * 500, png()[:60]):
            body = json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()
            assert status("/v1/models/limb:predict", body) == 400
        process.terminate()
        assert process.wait(60) == 0
        log = process.stderr.read().splitlines()
    assert log and all(re.match(r"\d{4}-\d\d-\d\d .* INFO ", line) for line in log), log


def test_stopping_while_models_load_is_no_lack_of_models(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = server_module.EmbeddedServer(models, server_module.Addresses(rest_port=0, grpc_port=0))
    poll = server.repository.poll

    def stop_and_poll() -> None:
        server.stop()
        wait_for(lambda: server.backend.stopping)
        poll()

    monkeypatch.setattr(server.repository, "poll", stop_and_poll)
    with caplog.at_level("INFO", "kerasortho.serving"):
        server.run()
    assert "Stopping" in caplog.text and "Ready" not in caplog.text and "No model can be served" not in caplog.text


def test_one_port_for_both(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rest-port", "8500"], ["--port", "8501"]):
        assert main(["serve", str(models), "--with", "embedded", *words]) == 2
        error = capsys.readouterr().err
        assert f"REST and gRPC need two ports, and {words[1]} is given for both" in error


def test_ports_in_use(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for option, other in (("--rest-port", "--port"), ("--port", "--rest-port")):
        with held_port() as port:
            assert main(["serve", str(models), "--with", "embedded", option, str(port), other, "0"]) == 2
        error = capfd.readouterr().err  # of gRPC's C core, too
        assert f"127.0.0.1:{port} already" in error and option in error and error.count("\n") == 1


def test_a_port_that_cannot_be_bound_leaves_nothing_open(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    with held_port() as free:
        pass
    with held_port() as held:
        words = ["serve", str(models), "--with", "embedded", "--rest-port", str(free), "--port", str(held)]
        assert main(words) == 2
    started = set(threading.enumerate()) - before
    assert [thread.name for thread in started if thread.name.startswith("batch")] == []
    with socket.create_server(("127.0.0.1", free)):
        pass


def test_another_reason_than_a_port_in_use_is_said(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbid(address: tuple[str, int], **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(server_module.socket, "create_server", forbid)
    assert main(["serve", str(models), "--with", "embedded", "--rest-port", "81"]) == 2
    error = capsys.readouterr().err
    assert "Another program" not in error and "Permission denied" in error and "--rest-port" in error

    class Refusing:
        def add_insecure_port(self, address: str) -> int:
            raise RuntimeError("Failed to bind")

    with pytest.raises(KerasOrthoError, match=r"gRPC: Permission denied.*--port"):
        server_module._bind(Refusing(), server_module.Addresses(grpc_port=80))


def test_two_servers_never_share_a_port(models: Path, start: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    """gRPC would do so by default, and each would get some of the requests."""
    port = str(start(models).addresses.grpc_port)
    assert main(["serve", str(models), "--with", "embedded", "--rest-port", "0", "--port", port]) == 2
    assert "--port" in capsys.readouterr().err


def test_folders_without_models(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty", models / "bone" / "1"):
        assert main(["serve", str(folder), "--with", "embedded"]) == 2
        assert "kerasortho export" in capsys.readouterr().err
    (models / "batching.config").write_text("max_batchsize { value: 3 }")
    assert main(["serve", str(models), "--with", "embedded"]) == 2
    assert "batching.config" in capsys.readouterr().err


def test_missing_packages(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", str(models), "--with", "embedded"]) == 2
    assert "pip install 'kerasortho[serving]'" in capsys.readouterr().err


def test_docker_command(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(models), "--with", "docker"]) == 0
    assert capsys.readouterr().out == f"docker compose --file {models}/docker-compose.yml up\n"
    folder = models.rename(models.with_name("all our models"))
    assert main(["serve", str(folder), "--with", "docker"]) == 0
    assert shlex.split(capsys.readouterr().out)[2:] == ["--file", f"{folder}/docker-compose.yml", "up"]


@pytest.mark.parametrize("code, said", [(0, True), (1, False)])
def test_docker_is_named_where_its_daemon_answers(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int,
    said: bool,
) -> None:  # fmt: skip
    """Its program is a stand-in. The embedded server is started all the same; here a held port ends it at once."""
    program(tmp_path / "bin" / "docker", f"#!/bin/sh\ntest $1 = info && exit {code}\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with held_port() as port:
        assert main(["serve", str(models), "--rest-port", str(port), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert (f"docker compose --file {models}/docker-compose.yml up" in error) == said
    assert f"127.0.0.1:{port} already" in error


def test_tensorflow_serving_that_is_not_there(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["serve", str(models), "--with", "tensorflow-serving"]) == 2
    assert "tensorflow_model_server is not in PATH" in capsys.readouterr().err


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES/options"
trap 'touch "$NOTES/stopped"; exit 7' TERM
while :; do sleep 0.05; done
"""


def test_tensorflow_serving_gets_the_files_with_the_real_paths(models: Path, tmp_path: Path) -> None:
    """Its program is a stand-in that notes its options: TensorFlow Serving's own is not installed here."""
    write_server_files(models, label=("bone", "stable", 1))
    binary = program(tmp_path / "bin" / "tensorflow_model_server", STAND_IN)
    notes = tmp_path / "notes"
    notes.mkdir()
    code = (
        "import sys, kerasortho.serving.model_server as m; from kerasortho.cli.main import main; "
        "m._POLL_SECONDS = 0.1; sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "PATH": f"{binary.parent}:{os.environ['PATH']}", "NOTES": str(notes)}
    command = [sys.executable, "-c", code, "serve", str(models), "--rest-port", "1234", "--port", "5678"]
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, env=environment, cwd=ROOT, stderr=stderr, text=True) as process,
        ended_with_the_test(process),
    ):
        wait_for(lambda: (notes / "options").exists() and (notes / "options").read_text())
        options = dict(line[2:].split("=", 1) for line in (notes / "options").read_text().splitlines())
        assert (options["rest_api_port"], options["port"], options["enable_batching"]) == ("1234", "5678", "true")
        assert options["allow_version_labels_for_unavailable_models"] == "true"
        for name in ("batching", "monitoring"):
            key = f"{name}_parameters_file" if name == "batching" else f"{name}_config_file"
            assert Path(options[key]) == models / f"{name}.config"
        config = Path(options["model_config_file"])

        def read() -> ModelServerConfig:
            return text_format.Parse(config.read_text(), ModelServerConfig())

        (bone,) = read().model_config_list.config
        assert (bone.name, bone.base_path, dict(bone.version_labels)) == ("bone", str(models / "bone"), {"stable": 1})
        written = (models / "models.config").read_text()
        for half_saved, words in ((written[: len(written) // 2], "is no ModelServerConfig"), ("", "is empty")):
            (models / "models.config").write_text(half_saved)
            wait_for(lambda: f"models.config {words}" in log.read_text())  # noqa: B023
        assert dict(read().model_config_list.config[0].version_labels) == {"stable": 1}
        (models / "models.config").write_text(written.replace("stable", "canary"))
        wait_for(lambda: dict(read().model_config_list.config[0].version_labels) == {"canary": 1})
        process.terminate()
        assert process.wait(30) == 7
    assert (notes / "stopped").exists() and not config.exists()


def test_tensorflow_serving_never_outlives_the_command(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary, looks = program(tmp_path / "bin" / "tensorflow_model_server", STAND_IN), []
    monkeypatch.setenv("NOTES", str(tmp_path))
    monkeypatch.setattr(model_server, "_POLL_SECONDS", 0.1)

    def fail_later(folder: Path, target: Path) -> None:
        looks.append(target)
        if (tmp_path / "options").exists():
            raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(model_server, "_rewrite_config", fail_later)
    with pytest.raises(ZeroDivisionError):
        model_server.run_model_server(str(binary), models, rest_port=1, grpc_port=2)
    assert looks and (tmp_path / "stopped").exists()


def test_stopping_tensorflow_serving_is_no_failure(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no handler for SIGTERM: the signal ends it."""
    binary = program(tmp_path / "bin" / "tensorflow_model_server", "#!/bin/sh\nkill -TERM $PPID\nexec sleep 60\n")
    assert model_server.run_model_server(str(binary), models, rest_port=1, grpc_port=2) == 0
    program(binary, "#!/bin/sh\nkill -KILL $$\n")
    assert model_server.run_model_server(str(binary), models, rest_port=1, grpc_port=2) == -9


def test_tensorflow_serving_is_not_started_for_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin" / "tensorflow_model_server", "#!/bin/sh\n").parent))
    (tmp_path / "empty").mkdir()
    assert main(["serve", str(tmp_path / "empty")]) == 2
    assert "holds no exported models" in capsys.readouterr().err
    assert main(["serve", str(models), "--rest-port", "0"]) == 2
    assert "--rest-port and --port" in capsys.readouterr().err
    assert main(["serve", str(models)]) == 0


def test_tensorflow_serving_gets_models_without_a_models_config(models: Path, tmp_path: Path) -> None:
    model_server._rewrite_config(models, tmp_path / "config")
    (bone,) = text_format.Parse((tmp_path / "config").read_text(), ModelServerConfig()).model_config_list.config
    assert (bone.name, bone.base_path, bone.model_platform) == ("bone", str(models / "bone"), "tensorflow")
