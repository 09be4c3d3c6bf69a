"""TensorFlow's start-up chatter: silent by default, heard when it fails or when the user wants it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]


def in_a_new_process(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` as a user would."""
    kept = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command, environment = [sys.executable, "-c", textwrap.dedent(code)], {**kept, **variables}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_importing_the_package_imports_no_tensorflow_and_changes_no_environment() -> None:
    answer = in_a_new_process("""
        import os, sys
        import kerasortho
        assert "tensorflow" not in sys.modules and "TF_CPP_MIN_LOG_LEVEL" not in os.environ
        assert not [finder for finder in sys.meta_path if type(finder).__module__ == "kerasortho.quiet"]
    """)
    assert answer.returncode == 0, answer.stderr


def test_the_first_call_from_python_is_silent() -> None:
    answer = in_a_new_process("""
        import kerasortho
        kerasortho.predict
        import os, tensorflow as tf
        tf.constant(1.0) + 1
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    """)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


FAKE = "import os\nos.write(2, b'words of C++ at level ' + os.environ['TF_CPP_MIN_LOG_LEVEL'].encode())\n"


def test_a_users_own_level_is_kept_and_heard(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(FAKE)
    code = """
        import kerasortho
        kerasortho.read_radiograph
        import tensorflow
    """
    answer = in_a_new_process(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", TF_CPP_MIN_LOG_LEVEL="0")
    assert (answer.returncode, answer.stderr) == (0, "words of C++ at level 0")


def test_tensorflow_that_fails_is_heard(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(FAKE + "raise ImportError('libfoo.so.1 is missing')\n")
    code = """
        from kerasortho.quiet import quiet_tensorflow
        quiet_tensorflow()
        import tensorflow
    """
    answer = in_a_new_process(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert answer.returncode == 1
    assert answer.stderr.startswith("words of C++ at level 2") and "libfoo.so.1 is missing" in answer.stderr


def test_matplotlib_gets_a_folder_of_its_own_only_where_home_cannot_be_written(tmp_path: Path) -> None:
    code = """
        import os
        import kerasortho
        kerasortho.read_radiograph
        import matplotlib
        matplotlib.get_cachedir()
        print(os.environ.get("MPLCONFIGDIR", ""))
    """
    unset = {"XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "", "MPLCONFIGDIR": "", "PYTHONPATH": str(ROOT)}
    answer = in_a_new_process(code, **unset, HOME="/dev/null")
    folder = Path(answer.stdout.strip())
    assert answer.stderr == "" and "kerasortho-matplotlib-" in folder.name and not folder.exists()  # gone at the end
    answer = in_a_new_process(code, **unset, HOME=str(tmp_path))
    assert (answer.stdout, answer.stderr) == ("\n", "")


ONLY_PYTHON = """
    import os, sys, threading
    from kerasortho.quiet import only_python_on_stderr
    with only_python_on_stderr():
        os.write(2, b"words of C++\\n" * 100_000)
        print("words of Python", file=sys.stderr)
        {then}
    os.write(2, b"after it\\n")
"""


def test_only_python_on_stderr() -> None:
    answer = in_a_new_process(ONLY_PYTHON.format(then="pass"))
    assert (answer.returncode, answer.stderr) == (0, "words of Python\nafter it\n")


def test_tracebacks_are_words_of_python() -> None:
    failing = "threading.Thread(target=lambda: 1 / 0).start(); raise KeyError('mistake')"
    answer = in_a_new_process(ONLY_PYTHON.format(then=failing))
    assert answer.returncode == 1 and "C++" not in answer.stderr
    assert "ZeroDivisionError" in answer.stderr and "KeyError: 'mistake'" in answer.stderr


def test_the_last_words_of_cpp_are_heard_where_the_process_dies() -> None:
    answer = in_a_new_process(ONLY_PYTHON.format(then="os.write(2, b'Check failed'); os.abort()"))
    lines = answer.stderr.splitlines()
    assert answer.returncode < 0 and lines[0] == "words of Python"
    assert lines[1:] == ["words of C++"] * 49 + ["Check failed"]
