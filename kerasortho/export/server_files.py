"""The files beside the exported models with which TensorFlow Serving starts on all of them.

    exported/
      NAME/VERSION/          the models
      models.config          which models there are            --model_config_file
      batching.config        requests answered together        --batching_parameters_file
      monitoring.config      metrics for Prometheus            --monitoring_config_file
      docker-compose.yml     `docker compose up` starts it

Every export adds new models to ``models.config``, takes out those that are gone and leaves the other entries as they
are, version policies and labels included; the other files are written once and are the user's from then on.

A label is another name of a version: clients that ask for ``/labels/stable`` need not know the number behind it. A
model with labels gets a version policy that names the labelled versions and the newest one, since TensorFlow Serving
loads no others (its guide "Tensorflow Serving Configuration", "Assigning String Labels to Model Versions").
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from kerasortho.errors import KerasOrthoError
from kerasortho.export.card import CARD
from kerasortho.files import write_text

MODELS_CONFIG, BATCHING_CONFIG, MONITORING_CONFIG, COMPOSE = (
    "models.config", "batching.config", "monitoring.config", "docker-compose.yml",
)  # fmt: skip
CONTAINER_FOLDER = "/models"
METRICS_PATH = "/monitoring/prometheus/metrics"
MAX_BATCH = 8  # images answered together: a U-Net at 512 pixels then needs some 4 GB

BATCHING = f"""\
# How many images may be answered together, and how long one waits for others (microseconds). Exported versions carry
# warm-up requests of as many images as max_batch_size was then: TensorFlow Serving loads none that carries more than
# it is now. After lowering it, export the models again.
max_batch_size {{ value: {MAX_BATCH} }}
batch_timeout_micros {{ value: 5000 }}
# Batches of a model that may wait; what comes then is refused (TensorFlow Serving: HTTP 503, gRPC UNAVAILABLE;
# kerasortho serve: 429, RESOURCE_EXHAUSTED).
max_enqueued_batches {{ value: 16 }}
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
    ports: ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]  # gRPC, REST
    volumes: [".:{folder}:ro"]
    restart: unless-stopped
    command:
      - --model_config_file={folder}/{models}
      - --model_config_file_poll_wait_seconds=30
      - --allow_version_labels_for_unavailable_models=true
      - --enable_batching=true
      - --batching_parameters_file={folder}/{batching}
      - --monitoring_config_file={folder}/{monitoring}
"""
_COMPOSE = """\
# docker compose up                  on the processor
# docker compose --profile gpu up serving-gpu   on an NVIDIA GPU (needs the NVIDIA container toolkit)
#
# Ports are open to this machine alone, as with `kerasortho serve`: radiographs are patients' data, and there is neither
# password nor encryption. For others in a network that you trust, take "127.0.0.1:" away.
# "latest" changes under you: write the version that you have tested in its place.
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


def read_models_config(folder: Path) -> ModelServerConfig:
    """Return ``models.config`` of ``folder``, an empty one if there is none. Raises KerasOrthoError if damaged."""
    file, config = folder / MODELS_CONFIG, ModelServerConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except FileNotFoundError:
        pass
    except (text_format.ParseError, UnicodeDecodeError) as error:
        reason = str(error).rstrip(".")
        raise KerasOrthoError(
            f"{file} is no ModelServerConfig in protocol buffer text format: {reason}. Mend it, or delete it: the next "
            "`kerasortho export` writes it anew, without labels."
        ) from None
    return config


def write_server_files(folder: Path, *, exported: str | None = None, label: tuple[str, str, int] | None = None) -> None:
    """Write ``models.config`` for what lies in ``folder``, and the other files where they are not there yet.

    exported: the model that has got a new version just now; None: any may have.
    label: a model, a label for one of its versions, and that version.
    """
    config = read_models_config(folder)
    known = {model.name: model for model in config.model_config_list.config}
    del config.model_config_list.config[:]
    for name, versions in models_in(folder).items():
        new = ModelConfig(name=name, base_path=f"{CONTAINER_FOLDER}/{name}", model_platform="tensorflow")
        model = known.get(name, new)
        before = dict(model.version_labels)
        if label is not None and label[0] == name:
            model.version_labels[label[1]] = label[2]
        _keep_labels_to(model, versions, before, exported in (None, name))
        config.model_config_list.config.append(model)
    write_text(folder / MODELS_CONFIG, text_format.MessageToString(config))
    service = _SERVICE.format(
        folder=CONTAINER_FOLDER, models=MODELS_CONFIG, batching=BATCHING_CONFIG, monitoring=MONITORING_CONFIG
    )
    defaults = {
        BATCHING_CONFIG: BATCHING, MONITORING_CONFIG: _MONITORING, COMPOSE: _COMPOSE.format(service=service),
    }  # fmt: skip
    for name, text in defaults.items():
        if not (folder / name).exists():
            write_text(folder / name, text)


def _keep_labels_to(model: ModelConfig, versions: list[int], before: dict[str, int], newer: bool) -> None:
    """Take away labels of versions that are gone, and have those with a label loaded beside what is loaded already.

    before: the labels as they were.
    newer: there may be a new version.

    A policy that loads the labelled versions anyway, and that of a model which never had a label, is the user's and
    stays. A list of versions keeps what the user has put there; a version that a label has left goes from it, and,
    where there is a new version, the one that was the newest until now.
    """
    for label, version in list(model.version_labels.items()):
        if version not in versions:
            del model.version_labels[label]
    labelled, policy = set(model.version_labels.values()), model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if not labelled:
        if before and kind == "specific":  # nothing is left of what the list was made for
            model.ClearField("model_version_policy")
        return
    latest = versions[-max(1, policy.latest.num_versions) :]
    if kind == "all" or (kind == "latest" and labelled <= set(latest)):
        return
    listed = set(policy.specific.versions)
    kept = (listed - (set(before.values()) - labelled)) & set(versions)
    if newer:
        kept -= set(versions[-2:-1])
    if newer or not listed or max(listed) not in versions:
        kept.add(versions[-1])
    policy.specific.versions[:] = sorted(kept | labelled)
