"""Prepared samples: the same wherever they are kept; on disk never stale, never half there, prepared once."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from kerasortho.data import store as store_module
from kerasortho.data.samples import Sample
from kerasortho.data.store import CONTENT, COUNTED, FOREGROUND, SampleStore, prepare
from kerasortho.errors import KerasOrthoError
from kerasortho.radiograph.preprocessing import Preprocessing, preprocess
from kerasortho.radiograph.reading import read_radiograph

ROOT = Path(__file__).parents[2]
SPEC = Preprocessing(size=(24, 16))


def sample(image: Path, mask: Path | None = None, ignore: Path | None = None) -> Sample:
    return Sample(image.name, image, mask, ignore, -1, image.name, "train", {})


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    """Six images of odd sizes and both depths, with masks; every other one with doubtful pixels."""
    random, made = np.random.default_rng(0), []
    for i in range(6):
        shape = (30 + i, 50 - 3 * i)
        kind, white = (np.uint16, 65535) if i % 2 else (np.uint8, 255)
        mask = (random.random(shape) < 0.3).astype(np.uint8)
        doubtful = np.zeros(shape, np.uint8)
        doubtful[:10, :10] = 255
        files = [tmp_path / f"{what}{i}.png" for what in ("image", "mask", "ignore")]
        pixels = (random.random(shape) * white).astype(kind)
        for file, values in zip(files, (pixels, mask * 255, doubtful), strict=True):
            assert cv2.imwrite(str(file), values)
        made.append(sample(files[0], files[1], files[2] if i % 2 else None))
    return made


def contents(store: SampleStore) -> list[bytes]:
    return [part.tobytes() for i in range(len(store)) for part in store[i]]


@pytest.fixture
def count_reads(monkeypatch) -> list[str]:
    """The names of the images that are read from now on."""
    read: list[str] = []

    def counted(one: Sample, spec: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
        read.append(one.name)
        return prepare(one, spec)

    monkeypatch.setattr(store_module, "prepare", counted)
    return read


def test_every_place_serves_the_same(samples, tmp_path):
    places = [SampleStore(samples, SPEC, place=place, folder=tmp_path) for place in ("memory", "disk", "none")]
    reference = contents(places[0])
    assert [contents(store) == reference for store in places] == [True] * 3
    assert len({len(store) for store in places}) == 1
    for store in places:
        image, target = store[3]
        assert image.shape == target.shape == (24, 16) and image.dtype == np.uint16 and target.dtype == np.uint8
        assert store.foreground_share() == places[0].foreground_share()
        assert store.has_foreground.tolist() == [True] * 6


def test_one_worker_or_many(samples):
    assert contents(SampleStore(samples, SPEC, workers=1)) == contents(SampleStore(samples, SPEC, workers=4))


class TestPrepare:
    """What a sample is, bit by bit."""

    def test_image_is_the_preprocessed_one(self, samples):
        expected, _ = preprocess(read_radiograph(samples[1].image).pixels, SPEC)
        image, _ = prepare(samples[1], SPEC)
        assert np.abs(image / 65535 - expected).max() <= 0.5 / 65535 + 1e-7
        assert image.max() == 65535  # 16 bits are used in full

    def test_bits(self, tmp_path):
        picture, mask, ignore = tmp_path / "a.png", tmp_path / "m.png", tmp_path / "i.png"
        pixels, bone, doubtful = np.zeros((3, 8, 16), np.uint8)
        pixels[:, ::2], bone[:, :8], doubtful[:4] = 50, 1, 255
        for file, values in ((picture, pixels), (mask, bone), (ignore, doubtful)):
            assert cv2.imwrite(str(file), values)
        _, target = prepare(sample(picture, mask, ignore), Preprocessing(size=(16, 16)))
        content = np.zeros((16, 16), bool)
        content[4:12] = True  # 8 rows letterboxed into 16
        assert np.array_equal(target & CONTENT > 0, content)
        counted = content.copy()
        counted[4:8] = False  # doubtful
        assert np.array_equal(target & COUNTED > 0, counted)
        foreground = content.copy()
        foreground[:, 8:] = False
        assert np.array_equal(target & FOREGROUND > 0, foreground)
        store = SampleStore([sample(picture, mask, ignore)], Preprocessing(size=(16, 16)))
        assert store.foreground_share() == 0.5

    def test_without_mask(self, samples):
        _, target = prepare(sample(samples[0].image), SPEC)
        assert set(np.unique(target)) == {0, CONTENT | COUNTED}

    def test_mask_of_another_size(self, samples):
        with pytest.raises(KerasOrthoError) as caught:
            prepare(sample(samples[0].image, samples[1].mask), SPEC)
        for words in ("mask1.png is 31x47 pixels (height x width)", "image0.png is 30x50", "Export the mask"):
            assert words in str(caught.value)

    def test_dicom_and_16_bit_files(self, tmp_path):
        """The same picture as DICOM (12 bits, inverted), 16-bit PNG and TIFF, and 8-bit PNG: one sample."""
        pydicom = pytest.importorskip("pydicom")
        ramp = np.tile(np.linspace(0, 4095, 40), (30, 1)).astype(np.uint16)
        assert cv2.imwrite(str(tmp_path / "a.png"), ramp * 16)
        assert cv2.imwrite(str(tmp_path / "a.tif"), ramp * 16)
        assert cv2.imwrite(str(tmp_path / "eight.png"), (ramp // 16).astype(np.uint8))
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.Modality, dataset.PhotometricInterpretation = "CR", "MONOCHROME1"
        dataset.Rows, dataset.Columns = ramp.shape
        dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelData = (4095 - ramp).tobytes()
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        files = ("a.dcm", "a.png", "a.tif", "eight.png")
        dicom, png, tiff, eight = (prepare(sample(tmp_path / name), SPEC)[0] / 65535 for name in files)
        assert np.array_equal(png, tiff)
        assert np.abs(dicom - png).max() < 0.02 and np.abs(eight - png).max() < 0.01
        assert png[12, 15] > 0.9 and png[12, 0] < 0.1  # bright where the DICOM file has small values


class TestOnDisk:
    """Files that a second run takes over, if and only if they are what it would have made."""

    def test_reused(self, samples, tmp_path, count_reads):
        first = SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache")
        assert len(count_reads) == 6 and first.is_on_disk(tmp_path / "cache")
        second = SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache")
        assert len(count_reads) == 6 and contents(first) == contents(second)
        with pytest.raises(ValueError, match="read-only"):
            second[0][0][:] = 0

    @pytest.mark.parametrize("which", ["image", "mask", "ignore"])
    @pytest.mark.parametrize("how", ["size", "time"])
    def test_not_after_a_file_has_changed(self, samples, tmp_path, count_reads, which, how):
        SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache")
        file = getattr(samples[1], which)
        status = file.stat()
        if how == "size":  # even at the same time
            file.write_bytes(file.read_bytes() + b"\0")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
        count_reads.clear()
        again = SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache")
        assert len(count_reads) == 6
        assert contents(again) == contents(SampleStore(samples, SPEC))

    def test_not_for_another_specification_version_or_order(self, samples, tmp_path, monkeypatch):
        keys = {SampleStore(samples, SPEC, place="none").key()}
        keys.add(SampleStore(samples, Preprocessing(size=(16, 24)), place="none").key())
        keys.add(SampleStore(samples, Preprocessing(size=(24, 16), high=99.0), place="none").key())
        keys.add(SampleStore(samples[::-1], SPEC, place="none").key())
        keys.add(SampleStore(samples[:5], SPEC, place="none").key())
        monkeypatch.setattr(store_module, "VERSION", 0)
        keys.add(SampleStore(samples, SPEC, place="none").key())
        assert len(keys) == 6

    @pytest.mark.parametrize("damage", ["complete.json", "images.u16", "targets.u8"])
    def test_not_if_damaged(self, samples, tmp_path, damage):
        store = SampleStore(samples, SPEC, place="disk", folder=tmp_path)
        expected = contents(store)
        file = tmp_path / store.key() / damage
        file.write_bytes(file.read_bytes()[:-100]) if damage != "complete.json" else file.unlink()
        assert not store.is_on_disk(tmp_path)
        assert contents(SampleStore(samples, SPEC, place="disk", folder=tmp_path)) == expected

    def test_missing_image(self, samples, tmp_path):
        samples[0].image.unlink()
        with pytest.raises(KerasOrthoError, match=r"Cannot read .*image0\.png: No such file"):
            SampleStore(samples, SPEC, place="disk", folder=tmp_path)

    def test_failure_leaves_nothing(self, samples, tmp_path):
        samples[4].image.write_bytes(samples[4].image.read_bytes()[:200])
        with pytest.raises(KerasOrthoError, match=r"image4\.png"):
            SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache", workers=1)
        assert [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []

    def test_full_disk_is_an_error_not_a_crash(self, samples, tmp_path, monkeypatch):
        """Writing to a memory-mapped file on a full disk kills the process: so the space is taken beforehand."""
        if not hasattr(os, "posix_fallocate"):
            pytest.skip("space cannot be taken beforehand on this system")

        def full(descriptor: int, start: int, size: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(KerasOrthoError, match="No space left on the disk"):
            SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache")
        assert [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"] == []

    def test_folder_that_cannot_be_made(self, samples, tmp_path):
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(KerasOrthoError, match="a part of that path is a file"):
            SampleStore(samples, SPEC, place="disk", folder=tmp_path / "cache" / "prepared")


PROCESS = """
    import sys, time
    from pathlib import Path
    from kerasortho.data import store
    from kerasortho.data.samples import Sample
    from kerasortho.radiograph.preprocessing import Preprocessing
    folder, hold = Path(sys.argv[1]), sys.argv[2]
    samples = [Sample(f"image{i}.png", folder / f"image{i}.png", None, None, -1, "g", "train", {}) for i in range(6)]
    prepare, done = store.prepare, []
    def slow(sample, spec):
        if len(done) >= 3:
            (folder / "started").touch()
            while hold == "for ever" or not (folder / "go").exists():
                time.sleep(0.01)
        done.append(sample)
        return prepare(sample, spec)
    store.prepare = slow
    made = store.SampleStore(samples, Preprocessing(size=(24, 16)), place="disk", folder=folder / "cache", workers=1)
    print(len(done), sum(int(made[i][0].sum()) for i in range(6)))
"""


@pytest.fixture
def in_a_process(tmp_path):
    """Prepare the images of ``samples`` in another process, which stops after three images until it may go on."""
    started: list[subprocess.Popen[str]] = []

    def start(hold: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(tmp_path), hold]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_while_preparing_nothing_of_it_is_served(samples, tmp_path, in_a_process):
    bare = [sample(one.image) for one in samples]
    process = in_a_process("for ever")
    wait_for(lambda: (tmp_path / "started").exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = SampleStore(bare, SPEC, place="none")
    assert not store.is_on_disk(tmp_path / "cache")
    remains = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    assert len(remains) == 1  # half of the files, under another name
    again = SampleStore(bare, SPEC, place="disk", folder=tmp_path / "cache")
    assert contents(again) == contents(store)
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.is_dir()] == [store.key()]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_two_processes_at_once_prepare_once(samples, tmp_path, in_a_process):
    first = in_a_process("a while")
    wait_for(lambda: (tmp_path / "started").exists())
    second = in_a_process("a while")
    lines = iter(second.stderr)
    assert "waiting for another process" in next(lines)
    (tmp_path / "go").touch()
    answers = [process.communicate(timeout=60)[0].split() for process in (first, second)]
    assert [int(read) for read, _ in answers] == [6, 0]
    assert answers[0][1] == answers[1][1]
