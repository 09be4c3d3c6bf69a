"""The runner for edge devices: the pixels, the preprocessing and the answers of the package, without the package."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import struct
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert")
from kerasortho.edge import run as edge
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.inference import Predictor
from kerasortho.export.formats import open_model
from kerasortho.radiograph import preprocessing, raster, reading
from kerasortho.radiograph.preprocessing import Preprocessing
from kerasortho.radiograph.reading import decode_radiograph
from kerasortho.training.run import RunDirectory

FILES = runpy.run_path(str(Path(__file__).parents[1] / "export" / "test_image_graph.py"))
# A fresh process in which nothing can be imported but what requirements.txt names.
ALONE = """
import runpy, sys
sys.modules.update(dict.fromkeys(["kerasortho", "tensorflow", "keras", "tf_keras", "PIL", "pydicom", "scipy", "yaml"]))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

sides = st.integers(1, 200)


@pytest.fixture(scope="session")
def alone() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a bundle's run.py as on a device that has no other package."""

    def run(folder: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", ALONE, folder / "run.py", *words]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, check=False, cwd=cwd)

    return run


@pytest.fixture
def files(tiny: SimpleNamespace, tmp_path: Path) -> list[Path]:
    """Images of several sizes and depths, and in their middle a file that is none."""
    for number, (shape, bits) in enumerate([((57, 80), 8), ((200, 33), 16), ((9, 300), 8)]):
        tiny.write_image(tmp_path / f"{number}.png", shape, number != 1, number, bits)
    (tmp_path / "1b.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    cv2.imwrite(str(tmp_path / "3.jpg"), cv2.imread(str(tmp_path / "0.png"), cv2.IMREAD_UNCHANGED))
    return sorted(tmp_path.iterdir())


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(sides, sides), st.tuples(st.integers(1, 64), st.integers(1, 64)), st.sampled_from(["percentile", "none"])
)
def test_preprocessing_is_that_of_the_package(shape: tuple[int, int], size: tuple[int, int], intensity: str) -> None:
    pixels = np.random.default_rng(0).random(shape, np.float32)
    spec = Preprocessing(size, intensity, 1.25, 97.5)
    image, box = edge.preprocess(pixels, spec.to_dict())
    expected, letterbox = preprocessing.preprocess(pixels, spec)
    np.testing.assert_array_equal(image, expected)
    assert image.dtype == np.float32
    probability = np.random.default_rng(1).random(size, np.float32)
    np.testing.assert_array_equal(
        edge.to_native(probability, box, shape), preprocessing.to_native(probability, letterbox)
    )


def test_preprocessing_is_that_of_the_graph() -> None:
    tf = pytest.importorskip("tensorflow")
    from kerasortho.data.graph_preprocessing import preprocess_graph, to_native_graph

    spec = Preprocessing((48, 40))
    for shape in ((300, 170), (31, 90), (1, 1), (48, 40)):
        pixels = np.random.default_rng(2).random(shape, np.float32)
        image, box = edge.preprocess(pixels, spec.to_dict())
        np.testing.assert_allclose(preprocess_graph(tf.constant(pixels), spec), image, atol=2e-5)
        native = to_native_graph(tf.constant(image), tf.constant(shape), spec)
        np.testing.assert_allclose(native, edge.to_native(image, box, shape), atol=2e-6)


def test_constants_are_those_of_the_package() -> None:
    assert edge.SMALLEST_CONTRAST == preprocessing.SMALLEST_CONTRAST
    assert edge.COLOUR_SPREAD == raster.COLOUR_SPREAD and edge.MAX_SIDE == reading.MAX_SIDE
    assert (edge.JPEG_END, edge.JPEG_FILLER) == (raster.JPEG_END, raster.JPEG_FILLER)


@pytest.mark.parametrize("name", FILES["READABLE"])
def test_pixels_are_those_of_the_reader(tmp_path: Path, name: str) -> None:
    data = FILES["READABLE"][name]
    (tmp_path / "image").write_bytes(data)
    np.testing.assert_array_equal(edge.read_image(tmp_path / "image", 10**6), decode_radiograph(data).pixels)


@pytest.mark.parametrize("name", [*FILES["REFUSED"], "cmyk", "gif", "bit flipped", "missing"])
def test_what_the_reader_refuses_is_refused(tmp_path: Path, name: str) -> None:
    png = FILES["encoded"](FILES["GREY"])
    more = {"bit flipped": png[:200] + bytes([png[200] ^ 1]) + png[201:]}
    if name in ("cmyk", "gif"):
        more[name] = FILES["by_pillow"](FILES["GREY"], *{"cmyk": ("CMYK", "JPEG"), "gif": ("L", "GIF")}[name])
    if name in FILES["REFUSED"]:
        more[name] = FILES["REFUSED"][name][0]
    if name in more:
        with pytest.raises(KerasOrthoError):
            decode_radiograph(more[name])
        (tmp_path / "image").write_bytes(more[name])
    with pytest.raises(edge.EdgeError):
        edge.read_image(tmp_path / "image", 10**6)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with pytest.raises(edge.EdgeError, match="The image is empty"):
        edge.read_image(tmp_path / "image", 10**6)


def test_bombs_are_refused_by_their_header(tmp_path: Path) -> None:
    for data in (FILES["png_header"](30_000, 30_000), FILES["encoded"](np.zeros((1000, 201), np.uint8), ".jpg")):
        (tmp_path / "image").write_bytes(data)
        with pytest.raises(edge.EdgeError, match="at most 200000"):
            edge.read_image(tmp_path / "image", 200_000)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 0)
    jpeg = FILES["JPEG"]
    (tmp_path / "image").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    np.testing.assert_array_equal(edge.read_image(tmp_path / "image", 10**6), decode_radiograph(jpeg).pixels)


def test_real_files(tmp_path: Path, real_data: Path) -> None:
    """Every 40th file: the same pixels, or refused by both."""
    for file in sorted((real_data / "data" / "FracAtlas" / "images").rglob("*.jpg"))[::40]:
        try:
            expected = decode_radiograph(file.read_bytes()).pixels
        except KerasOrthoError:
            with pytest.raises(edge.EdgeError):
                edge.read_image(file, 10**8)
        else:
            np.testing.assert_array_equal(edge.read_image(file, 10**8), expected, err_msg=file.name)


def test_classifier_alone(
    bundles: dict[str, Path], runs: dict[str, Path], files: list[Path], alone: Callable[..., Any], tmp_path: Path
) -> None:
    done = alone(bundles["limb"], *files, cwd=tmp_path)
    assert done.returncode == 1, done.stderr  # one file has no answer
    predictor = Predictor(RunDirectory(runs["limb"]))
    for file, answer, prediction in zip(files, answers(done), predictor.predict(files), strict=True):
        assert answer["file"] == str(file)
        if isinstance(prediction, KerasOrthoError):
            assert "truncated" in answer["error"]
            continue
        assert answer["label"] == predictor.classes[int(prediction.probabilities.argmax())]
        assert list(answer["probabilities"]) == list(predictor.classes)
        np.testing.assert_allclose([*answer["probabilities"].values()], prediction.probabilities, atol=2e-6)


def test_segmenter_alone(
    bundles: dict[str, Path], runs: dict[str, Path], files: list[Path], alone: Callable[..., Any], tmp_path: Path
) -> None:
    done = alone(bundles["bone"], *files, "--output", tmp_path / "masks", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    predictor = Predictor(RunDirectory(runs["bone"]))
    for file, answer, prediction in zip(files, answers(done), predictor.predict(files), strict=True):
        if isinstance(prediction, KerasOrthoError):
            assert "truncated" in answer["error"] and not (tmp_path / "masks" / f"{file.stem}_mask.png").exists()
            continue
        mask = cv2.imread(answer["mask"], cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, prediction.mask(predictor.threshold) * 255)
        assert answer["foreground_fraction"] == pytest.approx((mask > 0).mean(), abs=1e-6)
        assert (answer["size"], answer["threshold"]) == (list(prediction.shape), 0.5)


@pytest.mark.parametrize("form", ["int8", "dynamic-int8", "fp16"])
def test_smaller_models_alone(
    bundles: dict[str, Path], files: list[Path], alone: Callable[..., Any], tmp_path: Path, form: str
) -> None:
    """The answers are those that the conversion was checked with: what the file gives in this process."""
    for name in ("limb", "bone"):
        made = bundles[f"{name}-{form}"]
        words = [] if made.is_dir() else ["--model", made]
        folder = made if made.is_dir() else bundles[name]
        done = alone(folder, *files, *words, "--output", tmp_path / "masks", cwd=tmp_path)
        assert done.returncode == 1, done.stderr  # one file has no answer
        model = made / "model.tflite" if made.is_dir() else made
        about = json.loads(model.with_suffix(".json").read_text())
        network = open_model(form, model.read_bytes(), 2)
        for file, answer in zip(files, answers(done), strict=True):
            if "error" in answer:
                continue
            pixels = decode_radiograph(file.read_bytes()).pixels
            image, box = preprocessing.preprocess(pixels, Preprocessing.from_dict(about["preprocessing"]))
            wanted = network(image)
            if name == "limb":
                np.testing.assert_allclose([*answer["probabilities"].values()], wanted, atol=2e-6)
                continue
            mask = cv2.imread(answer["mask"], cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(mask > 0, preprocessing.to_native(wanted, box) >= np.float32(0.5))
            assert 0 < (mask > 0).mean() < 1


def test_two_files_of_one_name_get_two_masks(
    bundles: dict[str, Path], tiny: SimpleNamespace, alone: Callable[..., Any], tmp_path: Path
) -> None:
    for number, folder in enumerate("ab"):
        tiny.write_image(tmp_path / folder / "x.png", (20, 30 + number), True, number)
    done = alone(bundles["bone"], tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", cwd=tmp_path)
    assert [answer["mask"] for answer in answers(done)] == ["x_mask.png", "x-2_mask.png"]
    assert [cv2.imread(str(tmp_path / f"{n}_mask.png"), 0).shape[1] for n in ("x", "x-2")] == [30, 31]


def test_no_answer_at_all(bundles: dict[str, Path], alone: Callable[..., Any], tmp_path: Path) -> None:
    done = alone(bundles["limb"], tmp_path / "nothing.png", cwd=tmp_path)
    assert done.returncode == 2 and "error" in answers(done)[0] and "Traceback" not in done.stderr


@pytest.mark.parametrize("broken", ["other model", "cut", "no model", "other format", "not json", "other size"])
def test_a_pair_that_does_not_match_is_refused(
    bundles: dict[str, Path], alone: Callable[..., Any], tmp_path: Path, broken: str
) -> None:
    folder = shutil.copytree(bundles["bone"], tmp_path / "bundle")
    model, about = folder / "model.tflite", json.loads((folder / "model.json").read_text())
    if broken == "other model":
        shutil.copy(bundles["limb"] / "model.tflite", model)
    elif broken == "cut":
        model.write_bytes(model.read_bytes()[:-100])
    elif broken == "no model":
        model.unlink()
    elif broken == "not json":
        (folder / "model.json").write_text("{")
    else:
        about |= {"format": 99} if broken == "other format" else {}
        about["preprocessing"]["size"] = [64, 64]
        (folder / "model.json").write_text(json.dumps(about))
    done = alone(folder, tmp_path / "x.png", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    if broken in ("other model", "cut"):
        assert "do not belong together" in lines[0]


def test_it_imports_nothing_of_the_package() -> None:
    text = Path(edge.__file__).read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:from|import) ([\w]+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"cv2", "numpy", "ai_edge_litert"}


@pytest.mark.skipif("KERASORTHO_FRESH_VENV" not in os.environ, reason="set KERASORTHO_FRESH_VENV=1: installs from PyPI")
def test_in_a_fresh_environment(
    bundles: dict[str, Path], tiny: SimpleNamespace, runs: dict[str, Path], tmp_path: Path
) -> None:
    """As its user does it: a new environment, requirements.txt, `python run.py image.png`."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    requirements = bundles["bone"] / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True, timeout=600)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout.lower()
    assert "tensorflow" not in listed and "kerasortho" not in listed and "numpy" in listed
    tiny.write_image(tmp_path / "image.png", (120, 77), True, 0, 16)
    command = [python, bundles["bone"] / "run.py", "image.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (answer,) = answers(done)
    predictor = Predictor(RunDirectory(runs["bone"]))
    (prediction,) = predictor.predict([tmp_path / "image.png"])
    assert not isinstance(prediction, KerasOrthoError)
    mask = cv2.imread(str(tmp_path / answer["mask"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, prediction.mask(predictor.threshold) * 255)
