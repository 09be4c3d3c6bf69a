"""The doctor: versions held to setup.cfg, why there is no GPU, and what is printed."""

from __future__ import annotations

import configparser
import dataclasses
import errno
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kerasortho import doctor
from kerasortho.cli.doctor import doctor_command
from kerasortho.doctor import PACKAGES, Package, examine_dicom, examine_package
from kerasortho.gpu import GpuFacts, explain_missing_gpu, gather_gpu_facts

LINUX = GpuFacts(system="Linux", architecture="x86_64")
WITH_CARD = dataclasses.replace(LINUX, card=True)
WITH_DRIVER = dataclasses.replace(WITH_CARD, driver="550.54.15")
DLOPEN = "Cannot dlopen some GPU libraries. Please make sure the missing libraries mentioned above are installed"
OLD_CARD = "Ignoring visible gpu device (device: 0, name: GTX 765M, pci bus id: 0000:01:00.0, compute capability: 3.0) "
OLD_CARD += "with Cuda compute capability 3.0. The minimum required Cuda capability is 6.0.\n"


def requirements(text: str) -> dict[str, str]:
    """Return {"numpy": "1.26", ...} from lines such as ``numpy>=1.26``."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w-]+\])?>=([\d.]+)", text, flags=re.MULTILINE)
    return dict(found)


def test_minimum_versions_are_those_of_setup_cfg():
    setup = configparser.RawConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    expected = {(None, name): version for name, version in requirements(setup["options"]["install_requires"]).items()}
    for extra in ("dicom", "tensorboard", "serving", "edge", "convert", "onnx"):
        wanted = requirements(setup["options.extras_require"][extra])
        expected |= {(extra, name): version for name, version in wanted.items()}
    assert {(p.extra, p.distribution): p.minimum for p in PACKAGES} == expected
    assert setup["options"]["python_requires"] == ">={}.{},<{}.{}".format(*doctor.PYTHON_MINIMUM, *doctor.PYTHON_LIMIT)


def test_installed_package_has_no_problem():
    finding = examine_package(Package("numpy", "numpy", "1.26", None, "arrays"))
    assert finding["problem"] is None and finding["required"] and re.match(r"\d+\.\d+", finding["version"])


def test_missing_package_names_the_extra():
    finding = examine_package(Package("no-such-package", "no_such_package", "1.0", "dicom", "nothing"))
    assert finding["version"] is None and not finding["required"]
    assert "pip install 'kerasortho[dicom]'" in finding["problem"]


def test_old_package_names_the_version_needed():
    finding = examine_package(Package("numpy", "numpy", "999.1", None, "arrays"))
    assert "too old, 999.1 is needed" in finding["problem"] and "pip install 'numpy>=999.1'" in finding["problem"]


def test_broken_opencv_is_explained(tmp_path, monkeypatch):
    (tmp_path / "broken_cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    finding = examine_package(Package("opencv-python-headless", "broken_cv2", "4.10", None, "images"))
    assert "libGL.so.1" in finding["problem"] and "opencv-python-headless" in finding["problem"]


@pytest.mark.parametrize(
    ("facts", "reason", "advice"),
    [
        (dataclasses.replace(LINUX, system="Darwin"), "macOS", "Linux machine"),
        (dataclasses.replace(WITH_DRIVER, system="Windows"), "after 2.10", "wsl --install"),
        (LINUX, "no NVIDIA card", "CPU"),
        (dataclasses.replace(LINUX, container=True), "container", "--gpus all"),
        (dataclasses.replace(LINUX, wsl=True), "WSL", "in Windows (not in WSL)"),
        (dataclasses.replace(LINUX, cuda_build=False), "no NVIDIA card", "CPU"),
        (dataclasses.replace(WITH_DRIVER, visible_devices="-1"), 'CUDA_VISIBLE_DEVICES is "-1"', "unset"),
        (dataclasses.replace(WITH_DRIVER, visible_devices=""), 'CUDA_VISIBLE_DEVICES is ""', "unset"),
        (WITH_CARD, "there is no nvidia-smi", "Install the driver"),
        (dataclasses.replace(WITH_CARD, container=True), "container", "--gpus all"),
        (
            dataclasses.replace(WITH_CARD, driver_error="NVIDIA-SMI has failed because it couldn't communicate"),
            "NVIDIA-SMI has failed",
            "Install the driver",
        ),
        (
            dataclasses.replace(WITH_CARD, driver_error="Failed to initialize NVML: Driver/library version mismatch"),
            "still loaded",
            "Restart",
        ),
        (dataclasses.replace(WITH_DRIVER, cuda_build=False), "built for the CPU only", "kerasortho[gpu]"),
        (
            dataclasses.replace(WITH_DRIVER, cuda_build=False, architecture="aarch64"),
            "aarch64 are built for the CPU only",
            "nvcr.io",
        ),
        (dataclasses.replace(WITH_DRIVER, driver="470.256.02"), "470.256.02 is too old", "Update the driver"),
        (dataclasses.replace(WITH_DRIVER, driver="525.60.13", log=DLOPEN), "CUDA libraries are not", "kerasortho[gpu]"),
        (dataclasses.replace(WITH_DRIVER, log=DLOPEN, cuda_libraries=True), "LD_LIBRARY_PATH", "unset LD_LIBRARY_PATH"),
        (dataclasses.replace(WITH_DRIVER, log=OLD_CARD), "compute capability 3.0, this TensorFlow needs 6.0.", "CPU"),
        (dataclasses.replace(WITH_DRIVER, visible_devices="0"), "no usual reason", "TF_CPP_MIN_LOG_LEVEL=0"),
    ],
)
def test_why_there_is_no_gpu(facts, reason, advice):
    why, what = explain_missing_gpu(facts)
    assert reason in why
    assert advice in what


def test_facts_come_from_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program.write_text("#!/bin/sh\necho 550.54.15\necho 550.54.15\n")
    program.chmod(0o755)
    facts = gather_gpu_facts(cuda_build=True, log="")
    assert (facts.driver, facts.driver_error, facts.card) == ("550.54.15", None, True)
    program.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    facts = gather_gpu_facts(cuda_build=True, log="")
    assert facts.driver is None and facts.driver_error is not None and "mismatch" in facts.driver_error


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (-signal.SIGILL, "", "AVX"),
        (-signal.SIGSEGV, "W something\nlast words\n", "signal 11.*last words"),
        (1, "Traceback\nImportError: libfoo.so.1 is missing\n", "cannot be imported: ImportError: libfoo"),
    ],
)
def test_tensorflow_that_does_not_start(monkeypatch, code, log, words):
    answer = subprocess.CompletedProcess([], code, stdout="", stderr=log)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_args, **_kwargs: answer)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    finding, kept = doctor.examine_tensorflow()
    assert re.search(words, finding["problems"][0]) and kept == log


def test_another_keras_backend_is_a_problem(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    finding, _ = doctor.examine_tensorflow()
    assert "KERAS_BACKEND is jax" in finding["problems"][0]


def test_dicom_decoders():
    pytest.importorskip("gdcm")
    findings = {finding["uid"]: finding for finding in examine_dicom()}
    assert len(findings) == len(doctor.TRANSFER_SYNTAXES)
    assert all(finding["available"] and finding["by"] for finding in findings.values())
    assert "gdcm" in findings["1.2.840.10008.1.2.4.70"]["by"]  # JPEG lossless: what most old CR archives hold


@pytest.fixture(scope="module")
def as_json() -> Result:
    """The findings on this machine; TensorFlow is started once for all tests of the module."""
    return CliRunner().invoke(doctor_command, ["--json"])


def test_json(as_json):
    findings = json.loads(as_json.output)
    assert as_json.exit_code == 0 and findings["usable"] and findings["problems"] == []
    assert findings["tensorflow"]["keras_backend"] == "tensorflow"
    assert bool(findings["gpu"]["gpus"]) != bool(findings["gpu"]["reason"])
    assert findings["machine"]["memory_available"] > 0 and findings["machine"]["disk_free"] > 0
    assert {package["name"] for package in findings["packages"]} == {package.distribution for package in PACKAGES}


def printed(monkeypatch, as_json: Result, **changes: object) -> Result:
    findings = {**json.loads(as_json.output), **changes}
    monkeypatch.setattr("kerasortho.cli.doctor.examine", lambda _folder: findings)
    return CliRunner().invoke(doctor_command, [])


def test_table(monkeypatch, as_json):
    result = printed(monkeypatch, as_json, gpu={"gpus": [], "reason": "No card.", "advice": "Buy one."})
    assert result.exit_code == 0
    for words in ("numpy", "JPEG 2000", "No card.", "Buy one.", "kerasortho can work here."):
        assert words in result.output


def test_table_with_a_gpu(monkeypatch, as_json):
    gpu = {"gpus": [{"name": "NVIDIA H200", "compute_capability": [9, 0]}], "reason": None, "advice": None}
    assert "NVIDIA H200, compute capability 9.0" in printed(monkeypatch, as_json, gpu=gpu).output


def test_table_when_something_needed_is_broken(monkeypatch, as_json):
    result = printed(
        monkeypatch,
        as_json,
        tensorflow={"problems": ["TensorFlow cannot be imported"]},
        gpu={"gpus": [], "reason": None, "advice": None},
        dicom=[],
        usable=False,
        problems=["TensorFlow cannot be imported"],
    )
    assert result.exit_code == 1
    assert "kerasortho cannot work here:\n  TensorFlow cannot be imported" in result.output
    assert "kerasortho[dicom]" in result.output


def test_each_check_stands_by_itself(monkeypatch, tmp_path):
    """A Python that cannot be reached, a folder that is gone, package metadata that may not be read."""
    monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(doctor.platform, "platform", lambda: raise_os_error(tmp_path / "python"))
    monkeypatch.setattr(doctor, "gather_gpu_facts", lambda **_: raise_os_error("/dev"))
    monkeypatch.setattr(doctor, "PACKAGES", [package for package in PACKAGES if package.module in ("numpy", "cv2")])
    monkeypatch.setattr(doctor, "installed_version", lambda package: raise_os_error(package.module))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("kerasortho.cli.doctor.examine", lambda _: doctor.examine(tmp_path / "gone"))
    result = CliRunner().invoke(doctor_command, [])
    assert result.exit_code == 1
    assert f"TensorFlow cannot be tried: Python does not start (No such file or directory: {tmp_path}/python)" in (
        result.output
    )
    assert re.search(r"^disk space here .*gone", result.output, re.MULTILINE)
    assert "cannot be looked for: [Errno 13] Permission denied: 'cv2'" in result.output
    assert "JPEG 2000" in result.output or "kerasortho[dicom]" in result.output
    assert doctor.examine_gpu({"version": "2", "cuda_build": True}, "")["reason"].startswith("This could not be found")


def raise_os_error(file: object) -> str:
    raise PermissionError(errno.EACCES, "Permission denied", str(file))
