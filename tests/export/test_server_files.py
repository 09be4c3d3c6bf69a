"""models.config over several exports: what is new, what is gone, and the labels of versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import write_server_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, versions in (("bone", (1, 2, 3)), ("limb", (1,))):
        for version in versions:
            (tmp_path / name / str(version)).mkdir(parents=True)
            (tmp_path / name / str(version) / "model.json").write_text("{}")
    return tmp_path


def models(folder: Path) -> dict[str, ModelConfig]:
    config = text_format.Parse((folder / "models.config").read_text(), ModelServerConfig())
    return {model.name: model for model in config.model_config_list.config}


def test_a_label_has_its_version_served_beside_the_newest(folder: Path) -> None:
    """TensorFlow Serving loads what the policy names; without one, only the newest version."""
    write_server_files(folder, label=("bone", "stable", 1))
    found = models(folder)
    assert dict(found["bone"].version_labels) == {"stable": 1}
    assert list(found["bone"].model_version_policy.specific.versions) == [1, 3]
    assert not found["limb"].HasField("model_version_policy")


def test_labels_stay_move_and_go_with_their_version(folder: Path) -> None:
    write_server_files(folder, label=("bone", "stable", 1))
    write_server_files(folder, label=("bone", "canary", 3))
    assert dict(models(folder)["bone"].version_labels) == {"stable": 1, "canary": 3}
    write_server_files(folder, label=("bone", "stable", 2))
    assert list(models(folder)["bone"].model_version_policy.specific.versions) == [2, 3]
    (folder / "bone" / "2" / "model.json").unlink()
    write_server_files(folder)
    assert dict(models(folder)["bone"].version_labels) == {"canary": 3}


def test_what_the_user_wrote_stays(folder: Path) -> None:
    write_server_files(folder)
    text = (folder / "models.config").read_text()
    pinned = text.replace('"tensorflow"', '"tensorflow" model_version_policy { specific { versions: 2 } }', 1)
    (folder / "models.config").write_text(pinned)
    write_server_files(folder)
    assert list(models(folder)["bone"].model_version_policy.specific.versions) == [2]


def version(folder: Path, number: int) -> None:
    (folder / "bone" / str(number)).mkdir(exist_ok=True)
    (folder / "bone" / str(number) / "model.json").write_text("{}")


def served(folder: Path) -> list[int]:
    return list(models(folder)["bone"].model_version_policy.specific.versions)


def test_without_its_last_label_a_model_is_no_longer_pinned(folder: Path) -> None:
    write_server_files(folder, label=("bone", "stable", 1))
    (folder / "bone" / "1" / "model.json").unlink()
    version(folder, 4)
    write_server_files(folder, exported="bone")
    assert not models(folder)["bone"].version_labels and not models(folder)["bone"].HasField("model_version_policy")


def test_a_new_version_takes_the_place_of_the_newest_alone(folder: Path) -> None:
    write_server_files(folder, label=("bone", "stable", 1))
    (folder / "models.config").write_text((folder / "models.config").read_text().replace("versions: 3", "versions: 2"))
    write_server_files(folder, exported="limb")
    assert served(folder) == [1, 2]  # as the user has put it
    version(folder, 4)
    write_server_files(folder, exported="bone")
    assert served(folder) == [1, 2, 4]
    version(folder, 5)
    write_server_files(folder, exported="bone")
    assert served(folder) == [1, 2, 5]
    (folder / "bone" / "5" / "model.json").unlink()
    write_server_files(folder)
    assert served(folder) == [1, 2, 4]


@pytest.mark.parametrize("policy, stays", [
    ("all { }", True), ("latest { num_versions: 3 }", True), ("latest { num_versions: 2 }", False),
])  # fmt: skip
def test_a_policy_that_loads_the_labelled_versions_stays(folder: Path, policy: str, stays: bool) -> None:
    write_server_files(folder)
    text = (folder / "models.config").read_text()
    text = text.replace('"tensorflow"', f'"tensorflow" model_version_policy {{ {policy} }}', 1)
    (folder / "models.config").write_text(text)
    write_server_files(folder, label=("bone", "stable", 1))
    assert models(folder)["bone"].model_version_policy.WhichOneof("policy_choice") == (
        policy.split()[0] if stays else "specific"
    )


def test_containers_listen_on_this_machine_alone(folder: Path) -> None:
    write_server_files(folder)
    services = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"]
    assert {port for service in services.values() for port in service["ports"]} == {
        "127.0.0.1:8500:8500", "127.0.0.1:8501:8501",
    }  # fmt: skip


def test_models_that_are_gone(folder: Path) -> None:
    write_server_files(folder)
    (folder / "limb" / "1" / "model.json").unlink()
    write_server_files(folder)
    assert list(models(folder)) == ["bone"]


def test_a_damaged_file_is_not_overwritten(folder: Path) -> None:
    (folder / "models.config").write_text("model_config_list {")
    with pytest.raises(KerasOrthoError, match=r"models\.config is no ModelServerConfig"):
        write_server_files(folder)
    assert (folder / "models.config").read_text() == "model_config_list {"
    (folder / "models.config").write_text("model_pl: 3")
    with pytest.raises(KerasOrthoError, match=r'no field named "model_pl"\. Mend it'):
        write_server_files(folder)
