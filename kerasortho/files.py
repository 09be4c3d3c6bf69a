"""Writing files so that nothing is ever half there: a temporary name first, then a rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasortho.errors import KerasOrthoError

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` that takes its name when the block ends without an error.

    The ending of ``path`` is kept, because several writers choose their format by it.
    Raises KerasOrthoError where the folder cannot be written or the disk is full; the old file then stays as it was.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise explain_os_error(error, target) from error
    temporary = Path(name)
    try:
        yield temporary
        _give_usual_permissions(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is not None and Path(error.filename) not in (temporary, target):
            raise  # about another file, that the block was reading
        raise explain_os_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path``, new or empty until then, when the block ends without an error.

    Raises KerasOrthoError where it cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        if temporary is not None and error.filename is not None:
            about = Path(error.filename)
            if about not in (path, temporary) and temporary not in about.parents:
                raise  # about another file, that the block was reading
        raise explain_os_error(error, path) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Raise KerasOrthoError unless files can be written in ``folder``, which may be yet to be made; leaves no trace.

    Asked before long work, whose results would have nowhere to go.
    """
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise explain_os_error(error, folder) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` whose process was killed. Only where nobody else writes now."""
    for leftover in folder.glob(".*-*"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` for this process alone; the lock goes with the process, however it ends.

    Raises BlockingIOError if another process holds it, unless told to ``wait``, and KerasOrthoError where the file
    cannot be made. On Windows, and on file systems without locks, nobody is kept out.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(target, "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise explain_os_error(error, target.parent) from error
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # such as a network drive that knows no locks
            pass
        yield


def _give_usual_permissions(path: Path) -> None:
    """Undo mkstemp's 0600: results are for colleagues too, as far as the umask allows."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(path, 0o666 & ~umask)


def explain_os_error(error: OSError, path: Path) -> KerasOrthoError:
    """Put a failed write into words: what was to be written, why it failed, what to do."""
    if error.errno == errno.ENOSPC:
        return KerasOrthoError(f"No space left on the disk while writing {path}. Free some, or choose another disk.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return KerasOrthoError(f"No permission to write {path}. Choose another folder or change its permissions.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return KerasOrthoError(f"Cannot write {path}: a part of that path is a file, not a folder. Choose another.")
    if error.errno == errno.EISDIR:
        return KerasOrthoError(f"Cannot write {path}: it is a folder. Name a file.")
    return KerasOrthoError(f"Could not write {path}: {error.strerror or error}.")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object in a file. Raises KerasOrthoError for a damaged file, FileNotFoundError without one."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise KerasOrthoError(f"{path} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise KerasOrthoError(f"{path} does not hold a JSON object.")
    return value


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
