"""Evaluation from files to files: numbers, tables, figures, other manifests, bad data."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import kerasortho
from kerasortho.data.manifest import manifest_hash, read_manifest, write_manifest
from kerasortho.errors import KerasOrthoError
from kerasortho.evaluation.evaluate import evaluate
from kerasortho.evaluation.judging import Classified


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def strict_json(path: Path) -> dict:
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in {path}"))


def is_png(path: Path) -> bool:
    return cv2.imread(str(path)) is not None


def test_a_classifier_gets_scores_table_and_figures(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    results = kerasortho.evaluate(run.path, by=["side"])
    assert (results["images"], results["groups"], results["unusable"]) == (8, 4, {})
    assert results["grouped_by"] == ["group"] and "whole groups resampled" in results["intervals"]["method"]
    assert results["metrics"]["accuracy"]["value"] == 1.0
    assert results["confusion_matrix"] == {"classes": ["lower", "upper"], "true_by_row": [[4, 0], [0, 4]]}
    assert {value: part["images"] for value, part in results["subgroups"]["side"].items()} == {"left": 4, "right": 4}
    assert strict_json(run.path / "metrics.json") == {"test": results}
    rows = read_rows(run.path / "predictions/test.csv")
    assert [row["image"] for row in rows] == [f"images/{i:02d}.png" for i in range(8, 16)]
    assert all(row["truth"] == row["prediction"] and row["correct"] == "1" for row in rows)
    assert all(float(row["p_lower"]) + float(row["p_upper"]) == pytest.approx(1, abs=1e-5) for row in rows)
    names = ["learning-curves", "test-confusion", "test-roc", "test-cases"]
    assert results["figures"] == [f"figures/{name}.png" for name in names]
    assert all(is_png(run.path / figure) for figure in results["figures"])


def test_a_segmentation_gets_scores_table_and_figures(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", empty=(9, 13)), tiny.segmenter(), "segmentation")
    results = evaluate(run)
    assert results["metrics"]["dice"]["value"] > 0.97
    assert results["images_without_foreground"]["with_predicted_foreground"] == 2
    rows = read_rows(run.path / "predictions/test.csv")
    assert [row["dice"] == "" for row in rows] == [i in (9, 13) for i in range(8, 16)]
    assert int(rows[0]["counted_pixels"]) == (41 + 8) * (67 - 2 * 8)  # at the image's own size
    assert results["figures"] == [f"figures/{name}.png" for name in ("learning-curves", "test-dice", "test-cases")]
    assert all(is_png(run.path / figure) for figure in results["figures"])


def test_ignored_pixels_count_nowhere(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """Masks that are wrong in their left half, and ignored there, judge the model as perfect ones do."""
    manifest = read_manifest(tiny.make_dataset(tmp_path / "data"))
    ignores = []
    for i, row in enumerate(manifest.rows):
        path = manifest.resolve(row, "mask")
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        ignore = np.zeros_like(mask)
        ignore[:, : mask.shape[1] // 2] = 255
        mask[:, : mask.shape[1] // 2] = 255 - mask[:, : mask.shape[1] // 2]
        cv2.imwrite(str(path), mask)
        ignores.append(f"masks/ignore{i}.png")
        cv2.imwrite(str(tmp_path / "data" / ignores[-1]), ignore)
    write_manifest(manifest.with_column("ignore", ignores))
    run = tiny.make_run(manifest.path, tiny.segmenter(), "segmentation")
    assert evaluate(run, figures=False)["metrics"]["dice"]["value"] > 0.97


def test_only_empty_masks_leave_dice_undefined(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", empty=range(16)), tiny.segmenter(bias=-99), "segmentation")
    results = evaluate(run)
    assert results["metrics"]["dice"] == {"value": None, "low": None, "high": None, "reason": "no image has foreground"}
    assert results["images_without_foreground"]["share_with_predicted_foreground"]["value"] == 0.0
    strict_json(run.path / "metrics.json")
    assert all(is_png(run.path / figure) for figure in results["figures"])


def test_splits_and_names_stand_side_by_side(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    for split, images in (("test", 8), ("val", 4), ("all", 16)):
        assert evaluate(run, split=split, figures=False)["images"] == images
    assert list(strict_json(run.path / "metrics.json")) == ["test", "val", "all"]
    with pytest.raises(KerasOrthoError, match=r'no split "tset".*Did you mean "test"'):
        evaluate(run, split="tset")


def test_another_hospitals_manifest_needs_no_split_and_may_hold_one_class(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    other = tmp_path / "other-hospital"
    for i in range(5):
        tiny.write_image(other / f"{i}.png", (60, 40), bright_top=i < 4, seed=i)
    labels = ["upper", "upper", "upper", "spine", "upper"]
    rows = [{"image": f"{i}.png", "label": label, "ward": "a,b"} for i, label in enumerate(labels)]
    manifest = tiny.write_rows(other / "manifest.csv", rows)
    results = evaluate(run, manifest=manifest, split="all", by=["ward"])
    assert (results["images"], results["groups"], results["grouped_by"]) == (4, 4, ["image"])
    assert "single images (and their copies) resampled" in results["intervals"]["method"]
    assert results["left_out"] == {'label "spine" is not one of the classes': 1}
    assert results["metrics"]["accuracy"]["value"] == 0.75
    assert results["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None, "reason": "no image of lower"}
    assert "figures/other-hospital-all-roc.png" not in results["figures"]
    assert list(strict_json(run.path / "metrics.json")) == ["other-hospital-all"]
    assert (run.path / "predictions/other-hospital-all.csv").is_file()
    with pytest.raises(KerasOrthoError, match="replace the run's own results"):
        evaluate(run, manifest=manifest, split="all", name="test")


def test_a_manifest_without_a_split_is_judged_as_a_whole_and_said_to_be(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    tiny.write_image(tmp_path / "other/1.png", (60, 40), True, 1)
    path = tiny.write_rows(tmp_path / "other/clinic.csv", [{"image": "1.png", "label": "upper"}])
    results = evaluate(run, manifest=path, figures=False)
    assert (results["split"], results["table"]) == ("all", "predictions/clinic-all.csv")
    assert results["manifest_sha256"] == manifest_hash(read_manifest(path))
    with pytest.raises(KerasOrthoError, match=r"clinic.csv has no column split, so it has no split val. Leave --split"):
        evaluate(run, manifest=path, split="val")
    with pytest.raises(KerasOrthoError, match='Did you mean "test"'):
        evaluate(run, manifest=path, split="tset")
    tiny.write_rows(path, [{"image": "1.png", "labels": "upper"}])
    with pytest.raises(
        KerasOrthoError, match=r'no column "label", which data.label of .*run names. Did you mean "labels"'
    ):
        evaluate(run, manifest=path)


def test_images_of_another_manifest_that_the_model_was_trained_on_are_named(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    training = run.samples().split("train")[0]
    tested = run.samples().split("test")[0]
    other = tmp_path / "other"
    other.mkdir()
    rows = []
    for name, sample in (("copy.png", training), ("unseen.png", tested)):
        (other / name).write_bytes(sample.image.read_bytes())
        rows.append({"image": name, "label": run.classes[sample.label]})
    manifest = tiny.write_rows(other / "manifest.csv", rows)
    results = evaluate(run, manifest=manifest, split="all", figures=False)
    assert results["seen_in_training"] == ["copy.png"]


@pytest.mark.parametrize(
    ("split", "seen"), [("test", []), ("val", range(4, 8)), ("train", range(4)), ("all", range(8))]
)
def test_the_runs_own_training_images_are_named(
    tiny: SimpleNamespace, tmp_path: Path, split: str, seen: Iterable[int]
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    results = evaluate(run, split=split, figures=False)
    assert results["seen_in_training"] == [f"images/{i:02d}.png" for i in seen]
    assert strict_json(run.path / "metrics.json")[split]["seen_in_training"] == results["seen_in_training"]


def test_intervals_of_few_groups_are_said_to_be_unreliable(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", images=40), tiny.classifier())
    results = evaluate(run, by=["side"], figures=False)
    assert results["groups"] == 10 and results["intervals_unreliable"] is None
    results = evaluate(run, split="val", by=["side"], figures=False)
    assert results["intervals_unreliable"].startswith("only 5 groups: these intervals are not reliable")
    assert all("not reliable" in part["intervals_unreliable"] for part in results["subgroups"]["side"].values())


def test_a_run_that_cannot_be_written_is_told_before_the_work(
    tiny: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    (run.path / "predictions").write_text("a file in the folder's place")
    monkeypatch.setattr(
        "kerasortho.evaluation.evaluate.Predictor", lambda *_, **__: pytest.fail("the model was loaded")
    )
    with pytest.raises(KerasOrthoError, match=r"Cannot write .*predictions: a part of that path is a file"):
        evaluate(run)


def test_unusable_images_are_named_and_the_rest_judged(tiny: SimpleNamespace, tmp_path: Path) -> None:
    manifest = tiny.make_dataset(tmp_path / "data")
    run = tiny.make_run(manifest, tiny.segmenter(), "segmentation")
    broken, small = manifest.parent / "images/09.png", manifest.parent / "masks/10.png"
    broken.write_bytes(broken.read_bytes()[:100])
    cv2.imwrite(str(small), np.zeros((5, 5), np.uint8))
    results = evaluate(run)
    assert results["images"] == 6
    assert list(results["unusable"]) == ["images/09.png", "images/10.png"]
    assert "10.png is 5x5 pixels" in results["unusable"]["images/10.png"]
    for i in range(8, 16):
        (manifest.parent / f"images/{i:02d}.png").write_bytes(b"")
    with pytest.raises(KerasOrthoError, match="None of the 8 images can be judged"):
        evaluate(run)


def test_nothing_to_judge_says_what_there_is(tiny: SimpleNamespace, tmp_path: Path) -> None:
    rows = read_manifest(tiny.make_dataset(tmp_path / "data")).rows
    rows = [dict(row, split="val" if row["split"] == "test" else row["split"]) for row in rows]
    run = tiny.make_run(tiny.write_rows(tmp_path / "data/manifest.csv", rows), tiny.classifier())
    with pytest.raises(KerasOrthoError, match=r"no image in split test to judge \(4 in train, 12 in val, 0 in test"):
        evaluate(run)


def test_mistakes_in_by_and_name_are_found_before_the_work(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", images=120), tiny.classifier())
    with pytest.raises(KerasOrthoError, match='Did you mean "side"'):
        evaluate(run, by=["sied"])
    with pytest.raises(KerasOrthoError, match="60 different values"):
        evaluate(run, by=["image"])
    for name in ("a/b", "", "..", "a:b"):
        with pytest.raises(KerasOrthoError, match="--name"):
            evaluate(run, name=name)
    assert not (run.path / "metrics.json").exists()


def test_the_same_answers_give_the_same_results(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data", empty=(9,)), tiny.segmenter(), "segmentation")
    assert evaluate(run, figures=False) == evaluate(run, figures=False)


def test_tables_survive_classes_with_commas() -> None:
    sample = SimpleNamespace(name="a.png", group="g", label=1, row={})
    row = next(Classified([sample], ("hip, left", "knee"), np.array([[0.25, 0.75]])).rows())
    assert row["prediction"] == "knee" and row["p_hip, left"] == 0.25


def test_blanked_images_are_judged_blanked_and_counted(tiny: SimpleNamespace, tmp_path: Path) -> None:
    run = tiny.make_run(tiny.make_dataset(tmp_path / "data"), tiny.classifier())
    other = tmp_path / "other"
    tiny.write_image(other / "a.png", (60, 40), bright_top=True, seed=1)
    rows = [{"image": "a.png", "label": "upper", "blank": ""}]
    plain = evaluate(run, manifest=tiny.write_rows(other / "plain.csv", rows), figures=False)
    rows[0]["blank"] = "0, 0, 40, 30"
    blanked = evaluate(run, manifest=tiny.write_rows(other / "blanked.csv", rows), figures=True)
    assert (plain["blanked"], blanked["blanked"]) == (0, 1)
    loss = [results["metrics"]["log_loss"]["value"] for results in (plain, blanked)]
    assert loss[0] != loss[1]
