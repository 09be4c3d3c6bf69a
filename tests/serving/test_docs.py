"""The calls in docs/serving.md, run as they stand against the embedded server; addresses and names are replaced."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
png = runpy.run_path(str(ROOT / "tests" / "serving_contract" / "images.py"))["png"]


@pytest.fixture
def run_block(running: Any, tmp_path: Path) -> Callable[[str, str], str]:
    """Run the first block of a language under a heading, beside a radiograph.png; return what it prints."""
    (tmp_path / "radiograph.png").write_bytes(png((90, 60)))

    def run(heading: str, language: str) -> str:
        section = PAGE.split(f"### {heading}\n", 1)[1]
        found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
        assert found
        code = found[1]
        for old, new in (
            ("http://localhost:8501", running.addresses.rest), ("localhost:8500", running.addresses.grpc),
            ("limb-resnet50", "limb"), ("bone-unet", "bone"),
        ):  # fmt: skip
            code = code.replace(old, new)
        command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(run_block: Callable[[str, str], str]) -> None:
    out = run_block("curl", "sh")
    assert '"state": "AVAILABLE"' in out and '"label": "upper"' in out


def test_python_rest(run_block: Callable[[str, str], str], tmp_path: Path) -> None:
    assert 0.3 < float(run_block("Python, REST", "python")) < 0.7
    assert cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED).shape == (90, 60)


def test_python_grpc(run_block: Callable[[str, str], str]) -> None:
    assert run_block("Python, gRPC", "python").startswith("upper [")


def test_what_the_page_says_of_names_and_limits() -> None:
    """Metrics, options and defaults that the page names are there."""
    from kerasortho.cli.serve import serve_command
    from kerasortho.export.server_files import MAX_BATCH, METRICS_PATH
    from kerasortho.serving.server import LAST_SECONDS
    from kerasortho.serving.settings import Limits

    options = {option: parameter.default for parameter in serve_command.params for option in parameter.opts}
    assert f"`--max-request-mb {options['--max-request-mb']}`" in PAGE
    assert f"`--max-waiting-mb {options['--max-waiting-mb']}`" in PAGE
    assert Limits().request_bytes == options["--max-request-mb"] << 20
    assert Limits().waiting_bytes == options["--max-waiting-mb"] << 20
    assert f"`max_batch_size` images ({MAX_BATCH}" in PAGE and METRICS_PATH in PAGE
    assert f"arrive within {Limits().upload_seconds:.0f} seconds" in PAGE
    assert f"taken within {Limits().download_seconds:.0f} seconds" in PAGE
    assert f"| connections | {Limits().connections} over REST" in PAGE
    assert f"clients have {LAST_SECONDS} seconds" in PAGE
    assert f"at the same time ({Limits().waiting_bytes // Limits().request_bytes})" in PAGE
    assert f"up to {Limits().grace_seconds:.0f} seconds" in PAGE
