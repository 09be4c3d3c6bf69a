"""Why TensorFlow sees no GPU, and what to do: facts gathered from the machine, and the rules that judge them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MINIMUM_DRIVER = (525, 60)  # for CUDA 12.x on Linux: 525.60.13 (CUDA release notes, minor version compatibility)
_INSTALL = "pip install 'kerasortho[gpu]'"
_CPU_IS_FINE = "Everything works on the CPU, only slower."
_NVIDIA_VENDOR = "0x10de"  # PCI vendor


@dataclass(frozen=True)
class GpuFacts:
    """What the judgement rests on.

    Attributes:
        system: ``platform.system()``: Linux, Darwin, Windows.
        architecture: ``platform.machine()``: x86_64, aarch64, ...
        wsl: whether this Linux runs inside Windows.
        container: whether this is a container.
        cuda_build: whether this TensorFlow was compiled for CUDA.
        cuda_libraries: whether pip has installed the CUDA libraries (nvidia-cudnn-cu12).
        visible_devices: the environment variable CUDA_VISIBLE_DEVICES; None if unset.
        card: whether the machine has an NVIDIA card, as the PCI bus or a device file shows.
        driver: the driver's version as nvidia-smi reports it; None if it reports none.
        driver_error: what nvidia-smi said instead; None if there is no nvidia-smi.
        log: what TensorFlow logged while it looked for devices.
    """

    system: str
    architecture: str
    wsl: bool = False
    container: bool = False
    cuda_build: bool = True
    cuda_libraries: bool = False
    visible_devices: str | None = None
    card: bool = False
    driver: str | None = None
    driver_error: str | None = None
    log: str = ""


def gather_gpu_facts(*, cuda_build: bool, log: str) -> GpuFacts:
    """Look around on this machine. Never raises: what cannot be found out counts as absent."""
    driver, driver_error = _ask_nvidia_smi()
    return GpuFacts(
        system=platform.system(),
        architecture=platform.machine(),
        wsl="microsoft" in platform.release().lower(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        cuda_build=cuda_build,
        cuda_libraries=_is_installed("nvidia-cudnn-cu12"),
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        card=driver is not None or _has_nvidia_card(),
        driver=driver,
        driver_error=driver_error,
        log=log,
    )


def explain_missing_gpu(facts: GpuFacts) -> tuple[str, str]:
    """Return why TensorFlow sees no GPU and what to do about it, each in a sentence or two."""
    for rule in (_wrong_system, _hidden, _no_card, _no_driver, _cpu_build, _old_driver, _tensorflow_log):
        answer = rule(facts)
        if answer is not None:
            return answer
    return (
        "There is a card and a driver, but TensorFlow does not use them, for no usual reason.",
        f"Run {_INSTALL} again; then read what TensorFlow logs: "
        "TF_CPP_MIN_LOG_LEVEL=0 python -c \"import tensorflow as tf; tf.config.list_physical_devices('GPU')\".",
    )


def _wrong_system(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.system == "Darwin":
        return (
            "TensorFlow has no GPU build for macOS.",
            f"{_CPU_IS_FINE} Train large models on a Linux machine with an NVIDIA card.",
        )
    if facts.system == "Windows":
        return (
            "TensorFlow after 2.10 uses no GPU on Windows itself.",
            f"Install WSL2 (`wsl --install`), and in it Python and {_INSTALL}; the driver is the one of Windows.",
        )
    return None


def _hidden(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.visible_devices is None or re.match(r"\s*(\d|GPU-|MIG-)", facts.visible_devices):
        return None
    return (
        f'CUDA_VISIBLE_DEVICES is "{facts.visible_devices}": every GPU is hidden.',
        "Unset it (`unset CUDA_VISIBLE_DEVICES`), or name a card, as in CUDA_VISIBLE_DEVICES=0.",
    )


def _no_card(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.card:
        return None
    if facts.wsl:
        return (
            "No NVIDIA card is visible in WSL.",
            "If Windows has one, install its driver in Windows (not in WSL) and run `wsl --shutdown`. " + _CPU_IS_FINE,
        )
    if facts.container:
        return (
            "No NVIDIA card is visible in this container.",
            "If the machine has one, start the container with `--gpus all` (NVIDIA Container Toolkit). " + _CPU_IS_FINE,
        )
    return "This machine has no NVIDIA card, and TensorFlow's packages use no other.", _CPU_IS_FINE


def _no_driver(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.driver is not None:
        return None
    if facts.driver_error is not None and "mismatch" in facts.driver_error:
        return "The NVIDIA driver was updated but the old one is still loaded.", "Restart the machine."
    said = f' (nvidia-smi: "{facts.driver_error}")' if facts.driver_error else " (there is no nvidia-smi)"
    if facts.container:
        return (
            f"The NVIDIA driver does not reach into this container{said}.",
            "Start it with `--gpus all` (NVIDIA Container Toolkit).",
        )
    return (
        f"There is an NVIDIA card, but its driver does not answer{said}.",
        "Install the driver (Ubuntu: `sudo ubuntu-drivers install`; else https://www.nvidia.com/drivers) and restart.",
    )


def _cpu_build(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.cuda_build:
        return None
    if facts.architecture not in ("x86_64", "AMD64"):
        return (
            f"TensorFlow's packages for {facts.architecture} are built for the CPU only.",
            "Use NVIDIA's TensorFlow container for this processor (nvcr.io/nvidia/tensorflow).",
        )
    return (
        "The TensorFlow that is installed is built for the CPU only.",
        f"Run `pip uninstall tensorflow-cpu tensorflow-intel`, then {_INSTALL}.",
    )


def _old_driver(facts: GpuFacts) -> tuple[str, str] | None:
    if facts.driver is None or tuple(int(n) for n in re.findall(r"\d+", facts.driver)[:2]) >= MINIMUM_DRIVER:
        return None
    minimum = ".".join(str(n) for n in MINIMUM_DRIVER)
    return (
        f"The NVIDIA driver {facts.driver} is too old: CUDA 12 needs {minimum} or newer.",
        "Update the driver and restart.",
    )


def _tensorflow_log(facts: GpuFacts) -> tuple[str, str] | None:
    too_old = re.search(r"compute capability ([\d.]+)\. The minimum required Cuda capability is ([\d.]+\d)", facts.log)
    if too_old:
        return (
            f"The card is too old: it has compute capability {too_old[1]}, this TensorFlow needs {too_old[2]}.",
            _CPU_IS_FINE,
        )
    if "Cannot dlopen some GPU libraries" not in facts.log:
        return None
    if facts.cuda_libraries:
        return (
            "The CUDA libraries are installed but TensorFlow cannot load them; often LD_LIBRARY_PATH points to others.",
            f"Run `unset LD_LIBRARY_PATH` and try again; if that does not help, {_INSTALL} in a new environment.",
        )
    return "The card and the driver are there, the CUDA libraries are not.", f"Run {_INSTALL}."


def _ask_nvidia_smi() -> tuple[str | None, str | None]:
    """Return (driver version, None), or (None, what went wrong); (None, None) if there is no nvidia-smi."""
    program = shutil.which("nvidia-smi") or shutil.which("/usr/lib/wsl/lib/nvidia-smi")
    if program is None:
        return None, None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    first = next(iter((answer.stdout + answer.stderr).strip().splitlines()), "no answer")
    if answer.returncode == 0 and re.match(r"\d+\.", first):
        return first, None
    return None, first


def _has_nvidia_card() -> bool:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
        except OSError:
            continue
        if vendor == _NVIDIA_VENDOR and kind.startswith("0x03"):  # display and 3D controllers
            return True
    return False


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
