"""The files beside the exported models with which TensorFlow Serving starts on all of them.

    exported/
      NAME/VERSION/          the models
      models.config          which models there are            --model_config_file
      batching.config        requests answered together        --batching_parameters_file
      monitoring.config      metrics for Prometheus            --monitoring_config_file
      docker-compose.yml     `docker compose up` starts it

``models.config`` follows from what lies in the folder and is written anew with every export; the others are written
once and are the user's from then on.
"""

from __future__ import annotations

from pathlib import Path

from kerasortho.export.card import CARD
from kerasortho.files import write_text

MODELS_CONFIG, BATCHING_CONFIG, MONITORING_CONFIG, COMPOSE = (
    "models.config", "batching.config", "monitoring.config", "docker-compose.yml",
)  # fmt: skip
CONTAINER_FOLDER = "/models"
METRICS_PATH = "/monitoring/prometheus/metrics"
MAX_BATCH = 8  # images answered together: a U-Net at 512 pixels then needs some 4 GB

_BATCHING = f"""\
# How many images may be answered together, and how long one waits for others (microseconds).
max_batch_size {{ value: {MAX_BATCH} }}
batch_timeout_micros {{ value: 5000 }}
# Batches that may wait; what comes then is refused (HTTP 429 or 503, gRPC RESOURCE_EXHAUSTED or UNAVAILABLE).
max_enqueued_batches {{ value: 64 }}
# One a core is a good start on a CPU, one or two on a GPU.
num_batch_threads {{ value: 2 }}
"""
_MONITORING = f"""\
prometheus_config {{
  enable: true
  path: "{METRICS_PATH}"
}}
"""
_SERVICE = """\
    ports: ["8500:8500", "8501:8501"]  # gRPC, REST
    volumes: [".:{folder}:ro"]
    restart: unless-stopped
    command:
      - --model_config_file={folder}/{models}
      - --model_config_file_poll_wait_seconds=30
      - --enable_batching=true
      - --batching_parameters_file={folder}/{batching}
      - --monitoring_config_file={folder}/{monitoring}
"""
_COMPOSE = """\
# docker compose up                  on the processor
# docker compose --profile gpu up serving-gpu   on an NVIDIA GPU (needs the NVIDIA container toolkit)
services:
  serving:
    image: tensorflow/serving:latest
{service}\
  serving-gpu:
    profiles: [gpu]
    image: tensorflow/serving:latest-gpu
    deploy:
      resources:
        reservations:
          devices: [{{driver: nvidia, count: all, capabilities: [gpu]}}]
{service}"""


def versions_of(folder: Path) -> list[int]:
    """Return the version numbers in the model folder ``folder``, smallest first; none if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def models_in(folder: Path) -> dict[str, list[int]]:
    """Return the exported models in ``folder``: name to versions that are whole (with their card)."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        versions = [v for v in versions_of(path) if (path / str(v) / CARD).is_file()]
        if versions:
            found[path.name] = versions
    return found


def models_config(folder: Path, base: str) -> str:
    """Return a ModelServerConfig in text format that serves the newest version of every model in ``folder``.

    base: the path by which the server sees ``folder``.
    """
    lines = ["model_config_list {"]
    for name in models_in(folder):
        lines += ["  config {", f'    name: "{name}"', f'    base_path: "{base}/{name}"']
        lines += ['    model_platform: "tensorflow"', "  }"]
    return "\n".join([*lines, "}"]) + "\n"


def write_server_files(folder: Path) -> None:
    """Write ``models.config`` for what lies in ``folder``, and the other files where they are not there yet."""
    write_text(folder / MODELS_CONFIG, models_config(folder, CONTAINER_FOLDER))
    service = _SERVICE.format(
        folder=CONTAINER_FOLDER, models=MODELS_CONFIG, batching=BATCHING_CONFIG, monitoring=MONITORING_CONFIG
    )
    defaults = {
        BATCHING_CONFIG: _BATCHING, MONITORING_CONFIG: _MONITORING, COMPOSE: _COMPOSE.format(service=service),
    }  # fmt: skip
    for name, text in defaults.items():
        if not (folder / name).exists():
            write_text(folder / name, text)
