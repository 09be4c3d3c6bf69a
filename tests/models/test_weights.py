"""Pretrained weights: real files load, and every way to fail says what to do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.models import build_model, get_base
from kerasortho.models.backbones import BACKBONES, build_backbone
from kerasortho.models.weights import PublishedWeights, load_backbone_weights

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
    untrained = {"conv5_block1_3_bn", "conv5_block2_3_bn", "conv5_block3_3_bn"} if name == "resnet50" else set()
    pairs = zip(*([layer for layer in each.layers if layer.weights] for each in (reference, base)), strict=True)
    for layer, ours in pairs:
        for expected, weight in zip(layer.weights, ours.weights, strict=True):
            begins_at_zero = layer.name in untrained and weight.name == "gamma"
            np.testing.assert_array_equal(np.zeros(expected.shape) if begins_at_zero else expected, weight)


def test_imagenet_is_fetched_by_keras_into_its_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))

    def fetch(name: str, url: str, *, cache_subdir: str, force_download: bool) -> str:
        asked.append(url)
        network.save(Path(cache_subdir) / "copy.h5")  # the old format, as in Keras's store
        return str((Path(cache_subdir) / "copy.h5").rename(Path(cache_subdir) / name))

    monkeypatch.setattr(keras.utils, "get_file", fetch)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "new"))
    for _ in range(2):  # the second time it is there
        base = build_backbone("mobilenetv2", (64, 64), weights="imagenet")
        np.testing.assert_array_equal(base.weights[0].numpy(), network.weights[0].numpy())
    assert asked == [BACKBONES["mobilenetv2"].weights.url]
    assert (tmp_path / "new" / "models" / asked[0].rpartition("/")[2]).is_file()


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
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file" / "home"))  # can never be made
    monkeypatch.setattr("kerasortho.models.weights.locked", lambda *_, **__: contextlib.nullcontext())
    with pytest.raises(KerasOrthoError, match=r"put it at /tmp/\.keras/models/resnet50_"):
        build_backbone("resnet50", (64, 64), weights="imagenet")


class Store:
    """A web server with one weights file, of a small network; ``answers`` says what the next requests get of it."""

    def __init__(self, folder: Path) -> None:
        self.network = small_network()
        self.network.save_weights(folder / "small.weights.h5")
        self.content = (folder / "small.weights.h5").read_bytes()
        self.answers: list[tuple[bytes, int]] = []  # what is sent, and the length that is announced
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body, length = store.answers.pop(0)
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/small.weights.h5"

    def whole(self, body: bytes | None = None) -> tuple[bytes, int]:
        body = self.content if body is None else body
        return body, len(body)

    def dropped(self) -> tuple[bytes, int]:
        return self.content[: len(self.content) // 2], len(self.content)

    def check(self, md5: str | None) -> None:
        """Load the published file into a new network and compare it with the server's."""
        network = small_network()
        load_backbone_weights(network, "small", "imagenet", PublishedWeights(self.url, md5))
        np.testing.assert_array_equal(network.weights[0].numpy(), self.network.weights[0].numpy())


def small_network() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(50), keras.layers.Dense(50)])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "store").mkdir()
    store = Store(tmp_path / "store")
    thread = threading.Thread(target=store.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield store
    store.server.shutdown()
    store.server.server_close()


@pytest.mark.parametrize("with_checksum", [False, True])
def test_download_that_breaks_off_leaves_nothing_and_the_next_one_succeeds(
    with_checksum: bool, store: Store, tmp_path: Path
) -> None:
    md5 = hashlib.md5(store.content).hexdigest() if with_checksum else None
    target = tmp_path / "home" / "models" / "small.weights.h5"
    store.answers = [store.dropped(), store.whole()]
    with pytest.raises(KerasOrthoError, match="could not be fetched") as caught:
        store.check(md5)
    checksum = f"md5 {md5}" if md5 else "no published checksum"
    assert f"download {store.url} ({checksum}) and put it at {target}, or give" in str(caught.value)
    assert "cannot be used" not in str(caught.value)
    assert [path.name for path in target.parent.iterdir()] == [".kerasortho.lock"]
    for _ in range(2):  # the second time it is there: the server would have no answer
        store.check(md5)
    assert target.read_bytes() == store.content


@pytest.mark.parametrize("with_checksum", [False, True])
def test_stumps_of_killed_downloads_are_not_trusted(with_checksum: bool, store: Store, tmp_path: Path) -> None:
    md5 = hashlib.md5(store.content).hexdigest() if with_checksum else None
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    stump = models / "small.weights.h5"
    stump.write_bytes(store.content[: len(store.content) // 2])
    (models / "small.weights.h5.part").write_bytes(b"of a killed process, and longer than the file" * 9999)
    store.answers = [store.dropped(), store.whole()]
    with pytest.raises(KerasOrthoError, match="The file that is there now cannot be used: "):
        store.check(md5)
    store.check(md5)
    assert stump.read_bytes() == store.content
    assert {path.name for path in models.iterdir()} == {stump.name, ".kerasortho.lock"}


@pytest.mark.parametrize("md5, words", [(None, "not a complete HDF5 file"), ("0" * 32, "its md5 is [0-9a-f]+, not 0")])
def test_whole_answer_that_is_another_file_is_refused(
    md5: str | None, words: str, store: Store, tmp_path: Path
) -> None:
    store.answers = [store.whole(b"<html>Please log in to the hospital's network</html>")]
    with pytest.raises(KerasOrthoError, match=f"could not be fetched .*{words}"):
        store.check(md5)
    assert not (tmp_path / "home" / "models" / "small.weights.h5").exists()


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
