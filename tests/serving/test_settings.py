"""batching.config as TensorFlow Serving reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import MAX_BATCH, write_server_files
from kerasortho.serving.settings import megabytes, read_batching


def test_what_export_writes_is_what_is_used_without_it(tmp_path: Path) -> None:
    without = read_batching(tmp_path)
    assert without.max_batch_size == MAX_BATCH and without.num_batch_threads > 0
    write_server_files(tmp_path)
    assert read_batching(tmp_path) == without


def test_sizes_are_said_in_the_unit_of_the_options() -> None:
    said = [megabytes(size) for size in (128 << 20, 1 << 30, 3 << 19, 100)]
    assert said == ["128 MB", "1,024 MB", "1.5 MB", "less than 0.1 MB"]


def test_some_parameters(tmp_path: Path) -> None:
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 32 } # max_batch_size { value: 1 }\nbatch_timeout_micros: { value: 0 }\n"
        "allowed_batch_sizes: 16 allowed_batch_sizes: 32\nthread_pool_name { value: 'pool' }\n"
    )
    found = read_batching(tmp_path)
    assert (found.max_batch_size, found.batch_timeout_micros) == (32, 0)
    assert found.max_enqueued_batches == read_batching(tmp_path / "elsewhere").max_enqueued_batches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batchsize { value: 32 }", r'"max_batch_size"'),
        ("max_batch_size: 32", r"in this form"),
        ("max_batch_size { value: 0 }", "from 1 on"),
        ("batch_timeout_micros { value: -5 }", "from 0 on"),
        ("num_batch_threads { value: many }", "Received: 'many'"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "batching.config").write_text(text)
    with pytest.raises(KerasOrthoError, match=message) as error:
        read_batching(tmp_path)
    assert "batching.config" in str(error.value)
