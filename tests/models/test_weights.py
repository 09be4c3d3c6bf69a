"""Pretrained weights: real files load, and every way to fail says what to do."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, get_base
from kerasortho.models.backbones import BACKBONES, build_backbone

FILES = {
    "resnet50": "resnet50_notop_conv1-4_from_resnet152_imagenet.weights.h5",
    "mobilenetv2": "mobilenetv2_imagenet_1.0_224_no_top_from-int8.weights.h5",
}


@pytest.mark.parametrize("name", FILES)
def test_real_weights_are_those_that_keras_loads(name: str, real_data: Path) -> None:
    path = real_data / "weights" / FILES[name]
    application = getattr(keras.applications, BACKBONES[name].application)
    reference = application(include_top=False, weights=str(path), input_shape=(64, 64, 3))
    base = get_base(build_model(f"unet_{name}", input_size=(64, 64), weights=path))
    for expected, weight in zip(reference.weights, base.weights, strict=True):
        np.testing.assert_array_equal(expected.numpy(), weight.numpy())


def test_imagenet_is_fetched_by_keras_with_the_published_checksum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = {}
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(tmp_path / "copy.weights.h5")

    def fetch(name: str, url: str, **arguments: object) -> str:
        asked.update(name=name, url=url, **arguments)
        return str(tmp_path / "copy.weights.h5")

    monkeypatch.setattr(keras.utils, "get_file", fetch)
    base = build_backbone("mobilenetv2", (64, 64), weights="imagenet")
    np.testing.assert_array_equal(base.weights[0].numpy(), network.weights[0].numpy())
    assert asked["url"].endswith("/mobilenet_v2/" + asked["name"]) and asked["cache_subdir"] == "models"


@pytest.mark.parametrize("name", BACKBONES)
def test_table_agrees_with_kerass_own_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask keras.applications itself which file, address and checksum it would fetch."""
    asked = {}

    class Asked(Exception):
        pass

    def fetch(fname: str, origin: str, **arguments: object) -> str:
        asked.update(url=origin, md5=arguments.get("file_hash"))
        raise Asked

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fetch)
    with pytest.raises(Asked):
        getattr(keras.applications, BACKBONES[name].application)(include_top=False, weights="imagenet")
    assert asked == {"url": BACKBONES[name].weights.url, "md5": BACKBONES[name].weights.md5}


def test_failed_download_says_which_file_to_put_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> str:
        raise Exception("URL fetch failure: Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(KerasOrthoError) as caught:
        build_backbone("resnet50", (64, 64), weights="imagenet")
    message = str(caught.value)
    assert "4d473c1dd8becc155b73f8504c6f6626" in message and "Name or service not known" in message
    assert str(tmp_path / "models" / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5") in message


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3)).save_weights(path)
    return path


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.98])
def test_interrupted_file_is_called_damaged(kept: float, mobilenet_file: Path, tmp_path: Path) -> None:
    content = mobilenet_file.read_bytes()
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(KerasOrthoError, match=r"broken\.weights\.h5 is damaged.*fetch it again"):
        build_backbone("mobilenetv2", (64, 64), weights=str(broken))


def test_published_file_that_is_damaged_is_told_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / BACKBONES["resnet50"].weights.file_name
    path.write_bytes(b"not the file")
    with pytest.raises(KerasOrthoError, match="the published one's is 4d473c1dd8becc155b73f8504c6f6626"):
        build_backbone("resnet50", (64, 64), weights=str(path))


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_file_of_another_network_is_refused(name: str, mobilenet_file: Path) -> None:
    with pytest.raises(KerasOrthoError, match=f'does not fit the network "{name}"'):
        build_backbone(name, (64, 64), weights=str(mobilenet_file))


def test_missing_file_and_wrong_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KerasOrthoError, match="There is no weights file"):
        build_backbone("mobilenetv2", (64, 64), weights=str(tmp_path / "absent.h5"))
    (tmp_path / "weights.txt").write_text("hello")
    with pytest.raises(KerasOrthoError, match="must end in"):
        build_backbone("mobilenetv2", (64, 64), weights=str(tmp_path / "weights.txt"))
