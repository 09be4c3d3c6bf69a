"""models.config over several exports: what is new, what is gone, and the labels of versions."""

from __future__ import annotations

from pathlib import Path

import pytest
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
