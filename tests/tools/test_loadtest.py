"""tools/loadtest.py: what it complains about, and that it does not wait for a server that has ended."""

from __future__ import annotations

import runpy
import threading
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
NAN = float("nan")


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "tools" / "loadtest.py"))


def test_eight_clients_must_be_faster_together(tool: dict[str, Any]) -> None:
    judge = tool["not_faster_together"]
    assert judge("REST", {1: 10.0, 8: 10.1, 32: 9.0}) == []
    assert judge("REST", {1: 10.0, 32: 9.0}) == []
    (complaint,) = judge("REST", {1: 10.0, 8: 10.0})
    assert "REST: 8 clients together get 10.0 images/s, one alone 10.0" in complaint


@pytest.mark.parametrize("samples, complaint", [
    ([300, *[1000] * 15], None), ([*[1000] * 12, *[1099] * 4], None),
    ([*[1000] * 12, *[1101] * 4], "grew from 1000 MB"), (list(np.arange(500.0, 1300.0, 50.0)), "grew from"),
    ([NAN, *[1000.0] * 8, NAN], None), ([*[NAN] * 10, *[1000.0] * 7], "known 7 times only"),
])  # fmt: skip
def test_memory_must_not_grow(tool: dict[str, Any], samples: list[float], complaint: str | None) -> None:
    found = tool["memory_grew"](samples, required=True)
    assert len(found) == (complaint is not None) and (complaint or "") in "".join(found)


def test_a_server_that_does_not_tell_its_memory(tool: dict[str, Any]) -> None:
    """Of another server, that is all right; the embedded one tells it."""
    assert tool["memory_grew"]([NAN] * 20, required=False) == []
    done, samples = threading.Event(), []
    threading.Timer(1, done.set).start()
    tool["watch"](tool["Tally"](), "http://127.0.0.1:1", 2, done, samples)
    assert len(samples) > 5 and np.isnan(samples).all()


def test_the_exit_code(tool: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert (tool["verdict"](0, []), tool["verdict"](2, []), tool["verdict"](0, ["slow"])) == (0, 1, 1)
    out = capsys.readouterr().out
    assert "FAILED: 2 answers were wrong or lost." in out and "FAILED: slow" in out


def test_a_server_that_ends_is_not_waited_for(tool: dict[str, Any], tmp_path: Path) -> None:
    options = Namespace(server=None, folder=tmp_path / "nothing")
    with pytest.raises(SystemExit, match=r"did not start. It said:\n.*nothing"), tool["server"](options):
        pass


def test_a_model_that_is_not_there(tool: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "limb" / "1").mkdir(parents=True)
    (tmp_path / "limb" / "1" / "model.json").write_text("{}")
    assert tool["main"]([str(tmp_path), "limp", "x.png"]) == 2
    assert "There is no exported model" in (error := capsys.readouterr().err) and 'Did you mean "limb"' in error
