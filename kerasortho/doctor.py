"""What is installed and what the machine offers, as plain data: the findings that ``kerasortho doctor`` prints."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from kerasortho import __version__
from kerasortho.gpu import explain_missing_gpu, gather_gpu_facts
from kerasortho.machine import available_memory, processor_count

PYTHON_MINIMUM, PYTHON_LIMIT = (3, 10), (3, 14)  # as setup.cfg has it: from the first one on, below the second
_TENSORFLOW_SECONDS = 300  # a cold import from a network drive takes minutes


class Package(NamedTuple):
    """A package that kerasortho uses. ``extra`` is the extra that brings it; None: it is always needed."""

    distribution: str
    module: str
    minimum: str
    extra: str | None
    purpose: str


PACKAGES = (
    Package("tensorflow", "tensorflow", "2.20", None, "training and inference"),
    Package("tensorflow-serving-api", "tensorflow_serving", "2.19", None, "warm-up requests of exports, gRPC"),
    Package("keras", "keras", "3.12", None, "models"),
    Package("numpy", "numpy", "1.26", None, "arrays"),
    Package("opencv-python-headless", "cv2", "4.10", None, "PNG, JPEG, TIFF and BMP files"),
    Package("click", "click", "8.1.7", None, "command line"),
    Package("PyYAML", "yaml", "6.0", None, "configurations"),
    Package("matplotlib", "matplotlib", "3.8", None, "figures"),
    Package("jinja2", "jinja2", "3.1", None, "the page of `data check --report`"),
    Package("pillow", "PIL", "10.3", None, "palettes of mask files"),
    Package("pydicom", "pydicom", "3.0", "dicom", "DICOM files"),
    Package("python-gdcm", "gdcm", "3.0.24", "dicom", "compressed DICOM"),
    Package("pyjpegls", "jpeg_ls", "1.4", "dicom", "JPEG-LS in DICOM"),
    Package("tensorboard", "tensorboard", "2.20", "tensorboard", "viewing training logs"),
    Package("fastapi", "fastapi", "0.115", "serving", "the embedded server"),
    Package("uvicorn", "uvicorn", "0.30", "serving", "the embedded server"),
    Package("prometheus-client", "prometheus_client", "0.20", "serving", "the embedded server's metrics"),
    Package("ai-edge-litert", "ai_edge_litert", "2.0", "edge", "running LiteRT models without TensorFlow"),
    Package("litert-quantizer", "litert_quantizer", "0.11", "convert", "LiteRT models of fewer bits"),
    Package("tf2onnx", "tf2onnx", "1.17", "onnx", "converting to ONNX"),
    Package("onnx", "onnx", "1.17", "onnx", "converting to ONNX"),
    Package("onnxruntime", "onnxruntime", "1.22", "onnx", "running ONNX models"),
)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")

# Transfer syntaxes of DICOM PS3.5 section 10 in which radiographs are stored, by pydicom's keyword.
TRANSFER_SYNTAXES = (
    "ImplicitVRLittleEndian",
    "ExplicitVRLittleEndian",
    "DeflatedExplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "RLELossless",
    "JPEGBaseline8Bit",
    "JPEGExtended12Bit",
    "JPEGLossless",
    "JPEGLosslessSV1",
    "JPEGLSLossless",
    "JPEGLSNearLossless",
    "JPEG2000Lossless",
    "JPEG2000",
)

# Runs in a process of its own: a TensorFlow that crashes must not take the doctor with it.
_ASK_TENSORFLOW = """
import json
import tensorflow as tf
import keras
build = tf.sysconfig.get_build_info()
gpus = tf.config.list_physical_devices("GPU")
details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
print(json.dumps({
    "version": tf.__version__,
    "keras_version": keras.__version__,
    "keras_backend": keras.config.backend(),
    "image_data_format": keras.config.image_data_format(),
    "cuda_build": tf.test.is_built_with_cuda(),
    "cuda_version": build.get("cuda_version"),
    "cudnn_version": build.get("cudnn_version"),
    "gpus": [{"name": d.get("device_name", g.name), "compute_capability": d.get("compute_capability")}
             for g, d in zip(gpus, details)],
    "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
}))
"""


def examine(folder: Path) -> dict[str, Any]:
    """Return all findings, ready for JSON. Takes some seconds: TensorFlow is started once.

    Each check stands by itself: one that fails says so in its own place, and the others go on.

    Args:
        folder: the folder whose disk space is looked at.

    Returns:
        ``problems`` lists, in words, what keeps kerasortho from working; ``usable`` is true if there is none.
        The other keys hold the findings by subject.
    """
    tensorflow, log = examine_tensorflow()
    packages = [examine_package(package) for package in PACKAGES]
    problems = [
        *_python_problems(),
        *(f"{p['name']}: {p['problem']}" for p in packages if p["required"] and p["problem"]),
        *tensorflow["problems"],
    ]
    return {
        "kerasortho": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": f"{_system()} ({platform.machine()})",
        "packages": packages,
        "tensorflow": tensorflow,
        "gpu": examine_gpu(tensorflow, log),
        "machine": examine_machine(folder),
        "dicom": examine_dicom(),
        "problems": problems,
        "usable": not problems,
    }


def examine_package(package: Package) -> dict[str, Any]:
    """Return the version of a package and its problem in words, or None: missing, too old, or it cannot be imported."""
    try:
        version = installed_version(package)
        problem = _package_problem(package, version)
    except OSError as error:
        version, problem = None, f"cannot be looked for: {error}"
    return {
        "name": package.distribution,
        "version": version,
        "required": package.extra is None,
        "purpose": package.purpose,
        "problem": problem,
    }


def installed_version(package: Package) -> str | None:
    """Return the installed version of a package under any of its names, or None."""
    names = [package.distribution]
    if package.module == "cv2":
        names += ["opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"]
    if package.module == "tensorflow":
        names += ["tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"]
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def examine_tensorflow() -> tuple[dict[str, Any], str]:
    """Start TensorFlow in a process of its own; return what it says of itself, with ``problems``, and its log."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        return {"problems": [f"KERAS_BACKEND is {backend}; kerasortho needs tensorflow. unset KERAS_BACKEND"]}, ""
    command = [sys.executable, "-c", _ASK_TENSORFLOW]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_TENSORFLOW_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"problems": [f"TensorFlow did not start within {_TENSORFLOW_SECONDS} seconds."]}, ""
    except OSError as error:
        told = f"TensorFlow cannot be tried: Python does not start ({error.strerror}: {sys.executable or 'unknown'})."
        return {"problems": [f"{told} Make a new environment, with a Python that you may run."]}, ""
    if answer.returncode != 0:
        return {"problems": [_tensorflow_crash(answer.returncode, answer.stderr)]}, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    problems = []
    if found["keras_backend"] != "tensorflow":
        problems.append(
            f"Keras uses the backend {found['keras_backend']}, kerasortho needs tensorflow: "
            'set "backend": "tensorflow" in ~/.keras/keras.json.'
        )
    if found["image_data_format"] != "channels_last":
        problems.append('Keras puts channels first: set "image_data_format": "channels_last" in ~/.keras/keras.json.')
    return {**found, "problems": problems}, answer.stderr


def examine_gpu(tensorflow: dict[str, Any], log: str) -> dict[str, Any]:
    """Return the GPUs that TensorFlow sees or, if none, ``reason`` and ``advice``."""
    gpus = tensorflow.get("gpus", [])
    if gpus or "version" not in tensorflow:
        return {"gpus": gpus, "reason": None, "advice": None}
    try:
        reason, advice = explain_missing_gpu(gather_gpu_facts(cuda_build=tensorflow["cuda_build"], log=log))
    except OSError as error:
        reason, advice = f"This could not be found out: {error}.", "Mend that first."
    return {"gpus": [], "reason": reason, "advice": advice}


def examine_machine(folder: Path) -> dict[str, Any]:
    """Return processors, memory and disk space in bytes, and the environment variables that limit threads.

    Where the folder cannot be looked at, "disk_free" is None and "disk_problem" tells why.
    """
    disk: dict[str, Any] = {"folder": str(folder), "disk_free": None, "disk_problem": None}
    try:
        disk |= {"folder": str(folder.absolute()), "disk_free": shutil.disk_usage(folder).free}
    except OSError as error:
        disk["disk_problem"] = str(error)
    return {
        "processors": processor_count(),
        "memory_available": available_memory(),
        **disk,
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
    }


def examine_dicom() -> list[dict[str, Any]]:
    """Return for every transfer syntax whether it can be decoded, and by what; an empty list without pydicom."""
    try:
        import pydicom.uid
        from pydicom.pixels import get_decoder
    except Exception:  # missing or broken: pydicom's own line among the packages tells why
        return []
    findings = []
    for keyword in TRANSFER_SYNTAXES:
        uid = getattr(pydicom.uid, keyword)
        decoder = get_decoder(uid)
        by = list(decoder.available_plugins) if uid.is_encapsulated else ["pydicom"]
        findings.append({"name": uid.name, "uid": str(uid), "available": decoder.is_available, "by": by})
    return findings


def _system() -> str:
    try:
        return platform.platform()  # reads the Python program, to tell its C library
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _python_problems() -> list[str]:
    if PYTHON_MINIMUM <= sys.version_info[:2] < PYTHON_LIMIT:
        return []
    return [f"Python {platform.python_version()} is not supported: kerasortho needs 3.10 to 3.13."]


def _package_problem(package: Package, version: str | None) -> str | None:
    install = f"pip install '{package.distribution}>={package.minimum}'"
    if package.extra is not None:
        install = f"pip install 'kerasortho[{package.extra}]'"
    if version is None:
        return f"not installed. {install}"
    if _numbers(version) < _numbers(package.minimum):
        return f"version {version} is too old, {package.minimum} is needed. {install}"
    needs_tensorflow = package.module in ("tensorflow", "keras", "tf2onnx")  # see _ASK_TENSORFLOW
    return None if needs_tensorflow else _import_problem(package.module)


def _import_problem(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken binary raises anything
        hint = ""
        if "libGL" in str(error) or "libglib" in str(error):
            hint = " pip uninstall opencv-python, then pip install --force-reinstall opencv-python-headless"
        return f"cannot be imported: {error}.{hint}"
    return None


def _tensorflow_crash(code: int, log: str) -> str:
    """Say why TensorFlow's process failed, from its exit code and its last words."""
    last = next((line for line in reversed(log.strip().splitlines()) if line.strip()), "it said nothing")
    if code == -signal.SIGILL or "AVX" in last:
        return "TensorFlow does not run on this processor: its packages need AVX instructions. Use a newer machine."
    if code < 0:
        return f"TensorFlow crashes when it is imported (signal {-code}); its last words: {last}"
    return f"TensorFlow cannot be imported: {last}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``"2.21.0rc1"`` is (2, 21, 0)."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
