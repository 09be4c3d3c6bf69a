"""`kerasortho export`: what is written, and that it answers as the run does, in a process without kerasortho."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Predictor
from kerasortho.training.run import RunDirectory

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from google.protobuf import text_format  # noqa: E402
from tensorflow_serving.config import model_server_config_pb2  # noqa: E402

from kerasortho.export.export import export  # noqa: E402

ASK = """
import base64, json, os, pathlib
import tensorflow as tf
model, *files = sys.argv[1:]
answers = tf.saved_model.load(model).signatures["serving_default"](
    image_bytes=tf.constant([pathlib.Path(file).read_bytes() for file in files]))
plain = lambda v: base64.b64encode(v).decode() if isinstance(v, bytes) else v
print(json.dumps({k: [[*map(plain, r)] if isinstance(r, list) else plain(r) for r in v.numpy().tolist()]
                  for k, v in answers.items()}))
"""


@pytest.fixture(scope="module")
def files(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of several sizes and depths, a JPEG, and in their middle a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    for number, (shape, bits) in enumerate([((57, 80), 8), ((200, 33), 16), ((9, 300), 8)]):
        tiny.write_image(folder / f"{number}.png", shape, number != 1, number, bits)
    (folder / "1b.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    cv2.imwrite(str(folder / "3.jpg"), cv2.imread(str(folder / "0.png"), cv2.IMREAD_UNCHANGED))
    return sorted(folder.iterdir())


def decoded(text: str) -> np.ndarray:
    import base64

    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def text(value: str) -> str:
    import base64

    return base64.b64decode(value).decode()


def test_classifier_answers_as_the_run_in_a_process_that_has_only_tensorflow(
    runs: dict[str, Path], exported: Path, files: list[Path], bare_python: Callable[..., str]
) -> None:
    answers = json.loads(bare_python(ASK, exported / "limb" / "1", *files))
    assert sorted(answers) == ["classes", "error", "index", "label", "probabilities"]
    assert {tuple(map(text, row)) for row in answers["classes"]} == {("lower", "upper")}
    predictor = Predictor(RunDirectory(runs["limb"]))
    for place, prediction in enumerate(predictor.predict(files)):
        if isinstance(prediction, KerasOrthoError):
            assert files[place].name == "1b.png" and "truncated" in text(answers["error"][place])
            assert (answers["index"][place], text(answers["label"][place])) == (-1, "")
            assert answers["probabilities"][place] == [0, 0]
            continue
        assert text(answers["error"][place]) == ""
        np.testing.assert_allclose(answers["probabilities"][place], prediction.probabilities, atol=1e-6)
        best = int(prediction.probabilities.argmax())
        assert (answers["index"][place], text(answers["label"][place])) == (best, predictor.classes[best])


def test_segmenter_answers_as_the_run_in_a_process_that_has_only_tensorflow(
    runs: dict[str, Path], exported: Path, files: list[Path], bare_python: Callable[..., str]
) -> None:
    answers = json.loads(bare_python(ASK, exported / "bone" / "1", *files))
    assert sorted(answers) == ["error", "foreground_fraction", "mask_png_bytes", "probability_png_bytes", "threshold"]
    assert set(answers["threshold"]) == {0.5}
    predictor = Predictor(RunDirectory(runs["bone"]))
    for place, prediction in enumerate(predictor.predict(files)):
        if isinstance(prediction, KerasOrthoError):
            assert "truncated" in text(answers["error"][place])
            assert answers["mask_png_bytes"][place] == answers["probability_png_bytes"][place] == ""
            assert answers["foreground_fraction"][place] == 0
            continue
        mask, levels = decoded(answers["mask_png_bytes"][place]), decoded(answers["probability_png_bytes"][place])
        assert mask.shape == prediction.shape and mask.dtype == levels.dtype == np.uint8
        np.testing.assert_array_equal(mask, prediction.mask(predictor.threshold) * 255)
        np.testing.assert_allclose(levels / 255, prediction.probabilities, atol=0.51 / 255)
        assert answers["foreground_fraction"][place] == pytest.approx((mask > 0).mean(), rel=1e-6)
        assert 0 < answers["foreground_fraction"][place] < 1


def test_requests_without_any_image_fail_with_the_reason(exported: Path) -> None:
    answer = tf.saved_model.load(str(exported / "limb" / "1")).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Neither PNG nor JPEG"):
        answer(image_bytes=tf.constant([b"x", b"y"]))
    assert answer(image_bytes=tf.constant([], tf.string))["probabilities"].shape == (0, 2)


@pytest.mark.parametrize("batch", [1, 3])
def test_tensor_signature(runs: dict[str, Path], exported: Path, batch: int) -> None:
    images = np.random.default_rng(0).random((batch, 32, 32), np.float32)
    for name, key in (("limb", "probabilities"), ("bone", "probability")):
        answer = tf.saved_model.load(str(exported / name / "1")).signatures["tensor"](image=images[..., None])
        expected = Predictor(RunDirectory(runs[name])).ask(images)
        assert list(answer) == [key]
        np.testing.assert_allclose(answer[key].numpy().reshape(expected.shape), expected, atol=1e-6)


def test_session_loader(exported: Path, files: list[Path], tmp_path: Path) -> None:
    """`saved_model_cli run` loads as TensorFlow Serving does, with a session."""
    np.save(tmp_path / "images.npy", np.array([files[0].read_bytes(), files[-1].read_bytes()]))
    command = [Path(sys.executable).with_name("saved_model_cli"), "run", "--dir", exported / "limb" / "1"]
    command += ["--tag_set", "serve", "--signature_def", "serving_default", "--outdir", tmp_path]
    command += ["--inputs", f"image_bytes={tmp_path / 'images.npy'}"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "label.npy", allow_pickle=True).tolist() == [b"upper", b"upper"]


def test_nothing_of_keras_and_no_python_in_the_graph(exported: Path) -> None:
    for name in ("limb", "bone"):
        graph = (exported / name / "1" / "saved_model.pb").read_bytes()
        assert b"_tf_keras" not in graph and b"PyFunc" not in graph and b"EagerPyFunc" not in graph


def test_few_images_of_a_request_are_decoded_side_by_side(exported: Path) -> None:
    """The largest take some GB each meanwhile; TensorFlow's own number would be ten."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((exported / "bone" / "1" / "saved_model.pb").read_bytes())
    nodes = [node for function in model.meta_graphs[0].graph_def.library.function for node in function.node_def]
    loops = [node.attr["parallel_iterations"].i for node in nodes if node.op in ("While", "StatelessWhile")]
    assert len(loops) == 2 and set(loops) == {2}  # decoding, drawing


def test_models_config_names_every_model(exported: Path) -> None:
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((exported / "models.config").read_text(), config)
    found = [(c.name, c.base_path, c.model_platform) for c in config.model_config_list.config]
    assert found == [("bone", "/models/bone", "tensorflow"), ("limb", "/models/limb", "tensorflow")]


def test_card(runs: dict[str, Path], exported: Path) -> None:
    card = json.loads((exported / "bone" / "1" / "model.json").read_text())
    assert (card["name"], card["version"], card["task"], card["threshold"]) == ("bone", 1, "segmentation", 0.5)
    assert card["preprocessing"] == RunDirectory(runs["bone"]).config.preprocessing.to_dict()
    assert card["training"]["images"] == {"train": 4, "val": 4, "test": 8}
    assert "not a medical device" in card["intended_use"]
    assert str(runs["bone"].parent) not in json.dumps(card)
    assert "threshold" not in json.loads((exported / "limb" / "1" / "model.json").read_text())


def test_card_carries_the_scores_of_this_model_alone(runs: dict[str, Path], tmp_path: Path) -> None:
    from kerasortho.files import sha256_file

    run = RunDirectory(runs["limb"])
    scores = {"images": 8, "groups": 4, "manifest_sha256": "m", "metrics": {"accuracy": {"value": 1.0}}}
    try:
        run.write_metrics("test", {**scores, "model_sha256": sha256_file(run.path / "model.keras")})
        run.write_metrics("val", {**scores, "model_sha256": "another model's"})
        card = json.loads((export(run, tmp_path) / "model.json").read_text())
    finally:
        (run.path / "metrics.json").unlink()
    assert list(card["metrics"]) == ["test"]
    assert card["metrics"]["test"]["scores"] == {"accuracy": {"value": 1.0}}


def test_versions_count_up_and_are_never_overwritten(runs: dict[str, Path], tmp_path: Path) -> None:
    first = export(runs["limb"], tmp_path)
    before = (first / "saved_model.pb").stat().st_mtime_ns
    (tmp_path / "limb" / "7").mkdir()
    (tmp_path / "batching.config").write_text("mine")
    assert export(runs["limb"], tmp_path) == tmp_path / "limb" / "8"
    assert (first / "saved_model.pb").stat().st_mtime_ns == before
    assert (tmp_path / "batching.config").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "limb").iterdir()) == ["1", "7", "8"]


def test_what_killed_exports_have_left_is_removed(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "limb" / ".1-abc").mkdir(parents=True)
    (tmp_path / "limb" / ".1-abc" / "saved_model.pb").write_text("half")
    assert export(runs["limb"], tmp_path) == tmp_path / "limb" / "1"
    assert [path.name for path in (tmp_path / "limb").iterdir()] == ["1"]


def test_a_run_that_goes_on_meanwhile_is_not_exported(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card would describe another model than the one that was loaded."""
    run = RunDirectory(shutil.copytree(runs["limb"], tmp_path / "runs" / "limb"))
    load = RunDirectory.load_model

    def load_and_go_on(self: RunDirectory) -> Any:
        model = load(self)
        with (self.path / "model.keras").open("ab") as file:
            file.write(b"trained on")
        return model

    monkeypatch.setattr(RunDirectory, "load_model", load_and_go_on)
    with pytest.raises(KerasOrthoError, match="trained on while it was exported"):
        export(run, tmp_path / "exported")
    assert not (tmp_path / "exported" / "limb").exists()


@pytest.mark.parametrize("name", ["limb", "bone"])
def test_preprocessing_in_the_graph_is_checked(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What the tensor signature cannot show: the file is decoded and prepared otherwise."""
    module = sys.modules["kerasortho.export.signatures"]
    prepared, fades = module.preprocess_graph, np.linspace(1.0, 0.9, 32, dtype=np.float32)[:, None]
    monkeypatch.setattr(module, "preprocess_graph", lambda pixels, spec: prepared(pixels, spec) * fades)
    with pytest.raises(KerasOrthoError, match="does not answer as"):
        export(runs[name], tmp_path)


def test_failure_leaves_nothing_behind(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kerasortho.export.export.write_warmup", no_space)
    with pytest.raises(KerasOrthoError, match="No space left"):
        export(runs["limb"], tmp_path)
    assert not (tmp_path / "limb").exists() and not (tmp_path / "models.config").exists()


def test_a_model_that_answers_otherwise_is_not_exported(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Predictor.ask
    monkeypatch.setattr(Predictor, "ask", lambda self, images: ask(self, images) + 2e-4)
    with pytest.raises(KerasOrthoError, match=r"does not answer as .* Nothing was exported"):
        export(runs["limb"], tmp_path)
    assert not (tmp_path / "limb").exists()


def test_names_that_no_address_can_have(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a b", "../x", "", "-x", "ä"):
        with pytest.raises(KerasOrthoError, match="--name"):
            export(runs["limb"], tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_mixed_precision_is_exported_in_float32(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """The answer is that of the same weights in float32, and no operation computes in 16 bits."""
    manifest = tiny.make_dataset(tmp_path / "data")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = tiny.segmenter()
    finally:
        keras.config.set_dtype_policy("float32")
    assert half.get_layer("probability").compute_dtype == "float16"
    folder = export(tiny.make_run(manifest, half, "segmentation"), tmp_path / "exported")
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    answer = tf.saved_model.load(str(folder)).signatures["tensor"](image=images)["probability"].numpy()
    np.testing.assert_allclose(answer, tiny.segmenter().predict(images, verbose=0), atol=1e-6)
    assert np.abs(answer - half.predict(images, verbose=0)).max() > 1e-5


def test_models_that_would_run_code_are_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """And Keras's advice, how to load them all the same, is not passed on."""

    @keras.saving.register_keras_serializable("elsewhere")
    class Custom(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    manifest = tiny.make_dataset(tmp_path / "data")
    image = keras.Input((32, 32, 1))
    for layer, words in ((keras.layers.Lambda(lambda x: x), "a Lambda layer"), (Custom(), "the class 'Custom'")):
        run = tiny.make_run(manifest, keras.Model(image, layer(image)), "segmentation", name=layer.name)
        keras.saving.get_custom_objects().pop("elsewhere>Custom", None)  # another process does not know it
        with pytest.raises(KerasOrthoError) as refused:
            export(run, tmp_path / "exported")
        assert f"cannot be loaded: it needs {words}" in str(refused.value)
        assert "unsafe" not in str(refused.value) and "safe_mode" not in str(refused.value)
    assert not (tmp_path / "exported").exists()
