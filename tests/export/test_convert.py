"""`kerasortho convert`: each format is checked first, and only what passed is written."""

from __future__ import annotations

import builtins
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasortho.cli.main import main
from kerasortho.errors import KerasOrthoError

pytest.importorskip("litert_quantizer")
pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from kerasortho.evaluation.evaluate import evaluate  # noqa: E402
from kerasortho.export import convert as module  # noqa: E402
from kerasortho.export.bundle import REQUIREMENTS, write_bundle  # noqa: E402
from kerasortho.export.convert import convert  # noqa: E402
from kerasortho.export.edge_files import METADATA_FORMAT, Conversion, Converted  # noqa: E402
from kerasortho.export.export import export  # noqa: E402
from kerasortho.export.formats import DEFAULT_FORMATS, FORMATS  # noqa: E402
from kerasortho.export.server_files import models_in  # noqa: E402
from kerasortho.training.run import RunDirectory  # noqa: E402

SCORE = {"limb": "accuracy", "bone": "dice"}


@pytest.fixture(scope="module")
def converted(runs: dict[str, Path], convertible: Path) -> dict[str, Conversion]:
    """Both models in all LiteRT formats."""
    return {name: convert(convertible / name, run=run, calibration_images=3) for name, run in runs.items()}


@pytest.fixture(scope="module")
def fragile(tiny: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run and its export: a segmenter that int8 breaks, because its image is a small part of a large number."""
    folder = tmp_path_factory.mktemp("fragile")
    image = keras.Input((32, 32, 1), name="image")
    hides, reveals = keras.layers.Conv2D(1, 1, name="hides"), keras.layers.Conv2D(1, 1, name="reveals")
    model = keras.Model(image, keras.layers.Activation("sigmoid")(reveals(hides(image))))
    for layer, (kernel, bias) in {hides: (1.0, 600.0), reveals: (4.0, -2402.0)}.items():
        layer.set_weights([np.full((1, 1, 1, 1), kernel, np.float32), np.array([bias], np.float32)])
    run = tiny.make_run(tiny.make_dataset(folder / "data"), model, "segmentation", name="fragile")
    return run.path, export(run, folder / "exported")


@pytest.mark.parametrize("name", ["limb", "bone"])
def test_what_is_written(converted: dict[str, Conversion], convertible: Path, name: str) -> None:
    folder = convertible / name / "edge-1"
    assert converted[name].folder == folder and not converted[name].failed
    files = {f"{name}-{form}{ending}" for form in DEFAULT_FORMATS for ending in (".tflite", ".json")}
    assert {path.name for path in folder.iterdir()} == {*files, "formats.json"}
    assert models_in(convertible)[name] == [1]  # servers see the version alone
    results = json.loads((folder / "formats.json").read_text())
    assert (results["name"], results["version"], list(results["formats"])) == (name, 1, list(DEFAULT_FORMATS))
    for form, found in results["formats"].items():
        content = (folder / found["file"]).read_bytes()
        assert (len(content), sha256(content).hexdigest()) == (found["bytes"], found["sha256"])
        assert found["passed"] and found["drop"]["value"] <= found["max_drop"] == 0.005
        assert set(found["latency_ms"]) == {"1", "2"} and min(found["latency_ms"].values()) > 0
        about = json.loads((folder / f"{name}-{form}.json").read_text())
        assert about["sha256"] == found["sha256"] and about["quantisation"] == form
    assert results["formats"]["int8"]["calibration"]["images"] == 3


@pytest.mark.parametrize("name", ["limb", "bone"])
def test_scores_are_those_of_evaluate(
    converted: dict[str, Conversion], runs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    run = RunDirectory(shutil.copytree(runs[name], tmp_path / "run"))
    expected = evaluate(run, split="val", figures=False)
    checked = converted[name].checked_on
    assert (checked["images"], checked["groups"], checked["split"]) == (4, 2, "val")
    for found in (checked["reference"], converted[name].models["fp32"].facts["score"]):
        wanted = expected["metrics"][SCORE[name]]
        assert {key: found[key] for key in ("value", "low", "high")} == {
            key: pytest.approx(wanted[key], abs=1e-9) for key in ("value", "low", "high")
        }
    assert converted[name].models["fp32"].facts["drop"]["value"] == 0
    assert converted[name].models["fp32"].facts["largest_difference"] < 1e-5


def test_metadata_says_all_that_answers_depend_on(converted: dict[str, Conversion], runs: dict[str, Path]) -> None:
    about = json.loads((converted["bone"].folder / "bone-fp16.json").read_text())
    card = json.loads((converted["bone"].folder.parent / "1" / "model.json").read_text())
    for key in ("name", "version", "task", "classes", "preprocessing", "threshold", "max_pixels", "model_sha256"):
        assert about[key] == card[key]
    assert "not a medical device" in about["intended_use"] and str(runs["bone"].parent) not in json.dumps(about)


def test_onnx_answers_as_the_saved_model(runs: dict[str, Path], convertible: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    conversion = convert(convertible / "bone", run=runs["bone"], formats=["onnx"])
    facts = conversion.models["onnx"].facts
    assert facts["passed"] and facts["drop"]["value"] == 0 and facts["largest_difference"] < 1e-5
    session = onnxruntime.InferenceSession(conversion.models["onnx"].file, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["image"]
    assert [one.name for one in session.get_outputs()] == ["probability"]
    assert session.run(None, {"image": np.zeros((5, 32, 32, 1), np.float32)})[0].shape == (5, 32, 32, 1)
    results = json.loads((conversion.folder / "formats.json").read_text())["formats"]
    written = {path.stem.removeprefix("bone-") for path in conversion.folder.glob("bone-*.json")}
    assert set(results) == written  # those of an earlier call stay


def test_layers_that_suffer_stay_float32(fragile: tuple[Path, Path]) -> None:
    run, folder = fragile
    facts = convert(folder, run=run, formats=["int8"]).models["int8"].facts
    assert facts["passed"] and len(facts["float32_layers"]) == 2
    assert facts["drop"]["value"] == 0 and facts["score"]["value"] > 0.99


def test_what_loses_too_much_fails_and_is_not_written(
    fragile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = fragile
    edge = folder.parent / "edge-1"
    edge.mkdir(exist_ok=True)
    for old in ("fragile-int8.tflite", "fragile-int8.json"):
        (edge / old).write_text("of an earlier call")
    monkeypatch.setattr(module, "SHARES", (0.0,))  # nothing may stay in float32
    assert main(["convert", str(folder), "--run", str(run), "--formats", "fp32,int8"]) == 1
    assert {path.name for path in edge.iterdir()} == {"fragile-fp32.tflite", "fragile-fp32.json", "formats.json"}
    out = capsys.readouterr().out
    (failure,) = [line for line in out.splitlines() if line.startswith("FAILED: ")]
    assert "int8 loses 0." in failure and "hides" in failure and "reveals" in failure and "--max-drop" in failure
    assert "Calibrated on 4 training images" in failure and "not written" in failure
    results = json.loads((edge / "formats.json").read_text())["formats"]
    assert not results["int8"]["passed"] and "file" not in results["int8"] and "hides" in results["int8"]["reason"]
    assert results["fp32"]["passed"]


def test_max_drop_decides(fragile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = fragile
    monkeypatch.setattr(module, "SHARES", (0.0,))
    lost = convert(folder, run=run, formats=["int8"], max_drop=1.0).models["int8"]
    assert lost.facts["drop"]["value"] > 0.1 and not lost.failure and lost.file is not None
    lost.file.unlink()


def test_float_formats_must_answer_as_the_saved_model(
    fragile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the score stays the same; in `kerasortho verify` the same limit holds."""
    run, folder = fragile
    monkeypatch.setattr(module, "FINE_SHARES", (0.0,))
    original = module._answers

    def moved(name: str, *words: Any) -> np.ndarray:
        found = original(name, *words)
        return np.where(found > 0.8, found - {"fp32": 2e-4, "fp16": 3e-3}[name], found)

    monkeypatch.setattr(module, "_answers", moved)
    models = convert(folder, run=run, formats=["fp32", "fp16"]).models
    assert all(m.facts["drop"]["value"] == 0 and m.file is None and not m.facts["passed"] for m in models.values())
    assert re.search(r"fp32 changes a probability by 0.0002 on .* at most 0.0001 is allowed", models["fp32"].failure)
    assert "at most 0.002 is allowed" in models["fp16"].failure and "in 16-bit floats: " in models["fp16"].failure


def test_fp16_goes_on_until_the_largest_difference_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer carries nearly all of the error; what the others change is still too much for a single pixel."""
    layers = [SimpleNamespace(label=f"layer {i}") for i in range(8)]
    kept = dict(zip(module.FINE_SHARES, (0, 1, 1, 1, 1, 1, 2, 2, 5, 8), strict=True))
    asked: list[int] = []

    def differing(answers: int) -> dict[str, Any]:
        return {"drop": {"value": 0.0}, "agreement": 1.0, "largest_difference": 0.004 / (1 + answers) ** 2}

    monkeypatch.setattr(
        module, "_answers", lambda name, content, images, label: asked.append(int(content)) or int(content)
    )
    quantiser = SimpleNamespace(worst=lambda share, fp16: layers[: kept[share]], fp16=lambda keep: b"%d" % len(keep))
    tuning = SimpleNamespace(images=None, compare=differing)
    content, names = module._best("fp16", SimpleNamespace(quantiser=quantiser), tuning, 0.005, 0.25)  # type: ignore[arg-type]
    assert asked == [0, 1, 2] and content == b"2" and names == ["layer 0", "layer 1"]  # 0.004 / 9 is below 0.0005


@pytest.mark.parametrize(("name", "margins"), [("fp16", [0.5, 0.25, 0.1]), ("int8", [0.5]), ("fp32", [0.5])])
def test_more_layers_stay_float32_where_validation_images_differ_too_much(
    monkeypatch: pytest.MonkeyPatch, name: str, margins: list[float]
) -> None:
    """They are more than the calibration images, and one pixel of one of them is enough."""
    asked: list[float] = []

    def best(*words: Any) -> tuple[bytes, list[str]]:
        asked.append(words[-1])
        return b"%d" % len(asked), ["layer"] * len(asked)

    monkeypatch.setattr(module, "_best", best)
    monkeypatch.setattr(module, "_answers", lambda name, content, images, label: int(content))
    check = SimpleNamespace(
        images=None, compare=lambda tries: {"drop": {"value": 0.0}, "largest_difference": 0.005 / tries}
    )
    monkeypatch.setattr(module, "_explain", lambda *words: "too much")
    made = module._made(name, None, None, check, 0.005, {})  # type: ignore[arg-type]
    assert asked == margins and made.content == b"%d" % len(margins)
    assert made.failure == ("too much" if name == "fp32" else "")  # 0.005 / 3 is within 0.002


def test_the_same_layers_are_not_checked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(module, "_best", lambda *words: (b"", ["layer"]))
    monkeypatch.setattr(module, "_answers", lambda name, *words: checked.append(name))
    monkeypatch.setattr(module, "_explain", lambda *words: "too much")
    check = SimpleNamespace(images=None, compare=lambda _: {"drop": {"value": 0.0}, "largest_difference": 0.005})
    assert module._made("fp16", None, None, check, 0.005, {}).failure == "too much"  # type: ignore[arg-type]
    assert checked == ["fp16"]


def test_fp16_leaves_the_layers_in_float32_that_suffer_from_16_bits(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """The weight of "coarse" has no 16-bit float near it; int8, with a scale of its own, would not mind it."""
    image = keras.Input((32, 32, 1), name="image")
    coarse, fine = keras.layers.Conv2D(1, 1, name="coarse"), keras.layers.Conv2D(1, 1, name="fine")
    model = keras.Model(image, keras.layers.Activation("sigmoid")(fine(coarse(image))))
    coarse.set_weights([np.full((1, 1, 1, 1), 1 + 2.0**-11.01, np.float32), np.array([0.0], np.float32)])
    fine.set_weights([np.full((1, 1, 1, 1), 64.0, np.float32), np.array([-32.0], np.float32)])
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), model, "segmentation", name="coarse")
    made = convert(export(run, tmp_path / "exported"), run=run, formats=["fp16"]).models["fp16"]
    assert made.facts["float32_layers"] == ["coarse_1"] and made.facts["passed"]  # as the converter calls it
    assert made.facts["largest_difference"] < 1e-3


def test_a_tool_that_fails_costs_its_own_format_alone(
    runs: dict[str, Path],
    convertible: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from kerasortho.export.quantise import Quantiser

    def stumble(*words: Any) -> bytes:
        raise RuntimeError("no scale\nfor this")

    monkeypatch.setattr(Quantiser, "int8", stumble)
    folder = Path(shutil.copytree(convertible / "limb" / "1", tmp_path / "limb" / "1"))
    words = ["convert", str(folder), "--run", str(runs["limb"]), "--formats", "int8,fp32"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "FAILED: int8 could not be made: RuntimeError: no scale\n" in out and "limb-fp32.tflite" in out
    assert {path.name for path in (tmp_path / "limb" / "edge-1").iterdir()} == {
        "limb-fp32.tflite", "limb-fp32.json", "formats.json",
    }  # fmt: skip
    results = json.loads((tmp_path / "limb" / "edge-1" / "formats.json").read_text())["formats"]
    assert results["fp32"]["passed"] and not results["int8"]["passed"] and "no scale" in results["int8"]["reason"]


@pytest.mark.parametrize(("able", "told"), [(True, False), (None, False), (False, True)])
def test_int8_that_is_neither_small_nor_fast_is_told(
    monkeypatch: pytest.MonkeyPatch, able: bool | None, told: bool
) -> None:
    monkeypatch.setattr(module, "multiplies_int8", lambda: able)

    def made(name: str, size: int, duration: float) -> Converted:
        return Converted(name, b"x", {"bytes": size, "latency_ms": {"1": duration, "2": duration}})

    whole = made("fp32", 900, 10.0)
    assert module._remarks(made("int8", 290, 7.9), whole) == []
    small, fast = module._remarks(made("int8", 300, 9.0), whole)
    assert "0.33 of fp32's size" in small and "0.90 times as long as fp32" in fast
    assert ("lacks 8-bit dot products" in fast) == told


def test_the_folder_of_all_models_is_not_one_of_them(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(exported)]) == 2
    error = capsys.readouterr().err
    assert f"{exported} holds several models. Name one: {exported / 'bone'}. There are: bone, limb." in error


@pytest.mark.parametrize(("value", "shown"), [(-0.00001, "0.0000"), (0.00004, "0.0000"), (-0.0004, "-0.0004")])
def test_no_negative_zero_in_the_table(value: float, shown: str) -> None:
    from kerasortho.cli.convert import _number

    assert _number(value) == shown


def test_the_run_is_found_where_runs_usually_are(
    runs: dict[str, Path],
    convertible: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside the exported models; the command may be called from anywhere."""
    shutil.copytree(runs["limb"], tmp_path / "runs" / "limb")
    exported = shutil.copytree(convertible / "limb" / "1", tmp_path / "exported" / "limb" / "1").parent
    assert main(["convert", str(exported), "--formats", "fp32"]) == 0
    assert "(split val)" in capsys.readouterr().out
    (tmp_path / "runs").rename(tmp_path / "demo")
    assert main(["convert", str(exported), "--formats", "fp32"]) == 0
    (tmp_path / "demo" / "limb").rename(tmp_path / "limb")
    assert main(["convert", str(exported), "--formats", "fp32"]) == 0
    shutil.rmtree(tmp_path / "limb")
    capsys.readouterr()
    assert main(["convert", str(exported), "--formats", "fp32"]) == 2
    assert "none is here, or beside the exported models" in capsys.readouterr().err


def test_a_bundle_needs_a_litert_format(convertible: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tf2onnx")
    assert main(["convert", str(convertible / "lim"), "--formats", "onnx", "--bundle", "bundle"]) == 2
    assert "--bundle holds a LiteRT model" in capsys.readouterr().err  # before anything else is looked at


def test_without_a_run(tiny: SimpleNamespace, convertible: Path, tmp_path: Path) -> None:
    """Compared with the SavedModel, on images whose truth nobody knows."""
    tiny.write_image(tmp_path / "images" / "a.png", (50, 60), True, 1)
    tiny.write_image(tmp_path / "images" / "b.png", (70, 60), False, 2)
    folder = Path(shutil.copytree(convertible / "bone" / "1", tmp_path / "exported" / "bone" / "1"))
    conversion = convert(folder, images=[tmp_path / "images"], formats=["fp32", "fp16", "dynamic-int8"])
    assert conversion.checked_on == {"images": 2, "score": "agreement with the SavedModel"}
    assert [m.facts["drop"]["value"] for m in conversion.models.values()] == pytest.approx([0, 0, 0], abs=0.005)
    assert "score" not in conversion.models["fp32"].facts


def test_table(runs: dict[str, Path], convertible: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", convertible / "limb", "--run", runs["limb"], "--formats", "fp32,int8"]
    assert main([*map(str, words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Compared with the SavedModel on 4 images of 2 groups (split val)"
    (row,) = [line for line in lines if line.startswith("int8")]
    assert row.endswith("passed") and " KB " in row and "1.0000" in row
    assert f"wrote {convertible / 'limb' / 'edge-1' / 'limb-int8.tflite'}" in lines


@pytest.mark.parametrize("case, words", [
    ("formats", "Did you mean \"int8\"?"), ("none", "names no format"), ("no run", "--run RUN"),
    ("int8 without", "calibrated on the run's training images"), ("both", "not both"),
    ("other run", "was not exported from"), ("no model", "Did you mean \"limb\"?"),
    ("not exported", "no exported model"),
    ("no images", "None of the 1 images can be used"),
])  # fmt: skip
def test_mistakes(runs: dict[str, Path], convertible: Path, tmp_path: Path, case: str, words: str) -> None:
    (tmp_path / "x.png").write_text("no image")
    limb, run = convertible / "limb", runs["limb"]
    calls: dict[str, Callable[[], Any]] = {
        "formats": lambda: convert(limb, run=run, formats=["in8"]),
        "none": lambda: convert(limb, run=run, formats=[]),
        "no run": lambda: convert(limb),
        "int8 without": lambda: convert(limb, images=[tmp_path / "x.png"]),
        "both": lambda: convert(limb, run=run, images=[tmp_path / "x.png"]),
        "other run": lambda: convert(limb, run=runs["bone"]),
        "no model": lambda: convert(convertible / "lim", run=run),
        "not exported": lambda: convert(tmp_path, run=run),
        "no images": lambda: convert(limb, images=[tmp_path / "x.png"], formats=["fp32"]),
    }
    with pytest.raises(KerasOrthoError, match=words.replace("?", r"\?").replace("(", r"\(")):
        calls[case]()


@pytest.mark.parametrize("formats, package, extra", [
    (["int8"], "litert_quantizer", "convert"), (["fp32"], "ai_edge_litert", "convert"), (["onnx"], "tf2onnx", "onnx"),
])  # fmt: skip
def test_missing_packages_are_named(
    runs: dict[str, Path],
    convertible: Path,
    monkeypatch: pytest.MonkeyPatch,
    formats: list[str],
    package: str,
    extra: str,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(KerasOrthoError, match=rf"{package}.*pip install 'kerasortho\[{extra}\]'"):
        convert(convertible / "limb", run=runs["limb"], formats=formats)


def test_a_full_disk_leaves_no_half_file(
    runs: dict[str, Path], convertible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(convertible / "limb" / "1", tmp_path / "limb" / "1"))
    opened = builtins.open

    def full(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "edge-1" in str(file) and "b" in mode and "w" in mode:
            raise OSError(28, "No space left on device", str(file))
        return opened(file, mode, *args, **options)

    monkeypatch.setattr("io.open", full)
    with pytest.raises(KerasOrthoError, match="No space left"):
        convert(folder, run=runs["limb"], formats=["fp32"])
    assert [path.name for path in (tmp_path / "limb" / "edge-1").iterdir()] == []


def test_bundle(converted: dict[str, Conversion], tmp_path: Path) -> None:
    bundle = tmp_path / "new" / "bundle"
    assert write_bundle(converted["bone"], bundle) == "int8"
    assert {path.name for path in bundle.iterdir()} == {"model.tflite", "model.json", "run.py", "requirements.txt"}
    source = converted["bone"].folder / "bone-int8.tflite"
    assert (bundle / "model.tflite").read_bytes() == source.read_bytes()
    Interpreter(model_path=str(bundle / "model.tflite"))
    with pytest.raises(KerasOrthoError, match="exists and is not empty"):
        write_bundle(converted["bone"], bundle)
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_no_bundle_of_what_failed(converted: dict[str, Conversion], tmp_path: Path) -> None:
    nothing = Conversion(converted["bone"].folder, {}, {"onnx": converted["bone"].models["fp32"]})
    with pytest.raises(KerasOrthoError, match="No bundle was made"):
        write_bundle(nothing, tmp_path / "bundle")


def test_requirements_are_those_of_the_package() -> None:
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    assert all(f"    {line}\n" in setup for line in REQUIREMENTS)


def test_the_runner_reads_what_is_written() -> None:
    from kerasortho.edge import run

    assert run.FORMAT == METADATA_FORMAT


def test_every_format_is_told_in_help() -> None:
    from kerasortho.cli.convert import convert_command

    text = f"{convert_command.help} {[p.default for p in convert_command.params]}"
    assert [name for name in FORMATS if name not in text] == []
