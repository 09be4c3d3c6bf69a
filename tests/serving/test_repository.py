"""Which versions are served when, with a stand-in for loading."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("prometheus_client")

from tensorflow_serving.apis.model_pb2 import ModelSpec

from kerasortho.errors import KerasOrthoError
from kerasortho.export.server_files import write_server_files
from kerasortho.serving import repository as repository_module
from kerasortho.serving.metrics import Metrics
from kerasortho.serving.refusal import Refusal
from kerasortho.serving.repository import Repository, State


def write(folder: Path, version: int, content: str = "good") -> None:
    path = folder / "limb" / str(version)
    path.mkdir(parents=True, exist_ok=True)
    (path / "model.json").write_text("{}")
    (path / "saved_model.pb").write_text(content)


def load(name: str, version: int, folder: Path) -> Any:
    if (folder / "saved_model.pb").read_text() != "good":
        raise KerasOrthoError(f"{folder.name} is damaged")
    return SimpleNamespace(name=name, version=version)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, 1)
    return tmp_path


@pytest.fixture
def open_folder(folder: Path) -> Callable[[], Repository]:
    def make() -> Repository:
        repository = Repository(folder, Metrics(), load=load)
        repository.poll()
        return repository

    return make


def spec(version: int | None = None, label: str = "") -> ModelSpec:
    wanted = ModelSpec(name="limb")
    if version is not None:
        wanted.version.value = version
    if label:
        wanted.version_label = label
    return wanted


def states(repository: Repository) -> dict[int, str]:
    return {status.version: State.Name(status.state) for status in repository.statuses(spec())}


def served(repository: Repository, wanted: ModelSpec | None = None) -> int:
    with repository.use(wanted or spec()) as servable:
        return servable.version


def test_the_newest_version_is_served_and_follows(folder: Path, open_folder: Callable[[], Repository]) -> None:
    write(folder, 2)
    write(folder, 10)
    repository = open_folder()
    assert served(repository) == 10 and repository.available() == {"limb": [10]}
    write(folder, 11)
    repository.poll()
    assert served(repository) == 11
    assert states(repository) == {11: "AVAILABLE", 10: "END"}
    with pytest.raises(Refusal, match=r"Servable not found for request: Specific\(limb, 10\)"):
        served(repository, spec(10))


@pytest.mark.parametrize("damage", ["half", "damaged", "empty folder"])
def test_a_version_that_cannot_be_loaded_is_told_and_never_served(
    folder: Path, open_folder: Callable[[], Repository], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    repository = open_folder()
    write(folder, 2, damage)
    if damage == "empty folder":
        for file in (folder / "limb" / "2").iterdir():
            file.unlink()
        (folder / "limb" / "2" / "saved_model.pb").write_text("")
    for _ in range(3):
        repository.poll()
        assert served(repository) == 1
    assert states(repository) == {2: "END", 1: "AVAILABLE"}
    (status,) = repository.statuses(spec(2))
    assert status.status.error_message and status.status.error_code
    assert caplog.text.count("limb version 2 is not served") == 1  # once, not at every look
    write(folder, 2)
    repository.poll()
    assert served(repository) == 2 and states(repository) == {2: "AVAILABLE", 1: "END"}


def test_a_server_that_starts_on_a_damaged_newest_version_serves_the_older(
    folder: Path, open_folder: Callable[[], Repository]
) -> None:
    write(folder, 2, "bad")
    write(folder, 3, "bad")
    assert states(open_folder()) == {3: "END", 2: "END", 1: "AVAILABLE"}


def test_a_version_in_use_stays_until_its_request_is_answered(
    folder: Path, open_folder: Callable[[], Repository]
) -> None:
    repository = open_folder()
    write(folder, 2)
    with repository.use(spec()) as old:
        swap = threading.Thread(target=repository.poll)
        swap.start()
        while states(repository).get(2) != "AVAILABLE" or states(repository)[1] != "UNLOADING":
            assert swap.is_alive()
        assert served(repository) == 2  # new requests go to the new one at once
        assert old.version == 1
        swap.join(0.2)
        assert swap.is_alive()
    swap.join(30)
    assert not swap.is_alive() and states(repository)[1] == "END"


def test_labels_and_their_versions(folder: Path, open_folder: Callable[[], Repository]) -> None:
    write_server_files(folder, label=("limb", "stable", 1))
    write(folder, 2)
    write_server_files(folder)
    repository = open_folder()
    assert (served(repository), served(repository, spec(label="stable"))) == (2, 1)
    with pytest.raises(Refusal, match="Unrecognized servable version label: canary"):
        served(repository, spec(label="canary"))
    write(folder, 3)
    write_server_files(folder, label=("limb", "stable", 3))
    repository.poll()
    assert served(repository, spec(label="stable")) == 3
    assert states(repository) == {3: "AVAILABLE", 2: "END", 1: "END"}


def test_policies_of_the_users_own(folder: Path, open_folder: Callable[[], Repository]) -> None:
    for version in (2, 3):
        write(folder, version)
    config = 'model_config_list {{ config {{ name: "limb" base_path: "/models/limb" {} }} }}'
    for policy, expected in (
        ("model_version_policy { specific { versions: 2 } }", [2]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 3]),
        ("model_version_policy { all { } }", [1, 2, 3]),
        ("", [3]),
    ):
        (folder / "models.config").write_text(config.format(policy))
        assert open_folder().available() == {"limb": expected}
    repository = open_folder()
    (folder / "models.config").write_text(config.format("model_version_policy { specific { versions: 1 } }"))
    repository.poll()
    assert repository.available() == {"limb": [1]}


def test_a_model_that_is_taken_out(folder: Path, open_folder: Callable[[], Repository]) -> None:
    repository = open_folder()
    (folder / "models.config").write_text("model_config_list { }")
    repository.poll()
    assert repository.available() == {}
    with pytest.raises(Refusal, match="Could not find any versions of model limb"):
        repository.statuses(spec())


def test_what_is_served_outlives_a_damaged_config_and_a_missing_folder(
    folder: Path, open_folder: Callable[[], Repository], caplog: pytest.LogCaptureFixture
) -> None:
    write_server_files(folder)
    repository = open_folder()
    (folder / "models.config").write_text("model_config_list {")
    for _ in range(3):
        repository.poll()
        assert served(repository) == 1
    assert caplog.text.count("models.config") == 1
    write_server_files_again = 'model_config_list { config { name: "limb" base_path: "/models/limb" } }'
    (folder / "models.config").write_text(write_server_files_again)
    (folder / "limb").rename(folder / "elsewhere")
    repository.poll()
    assert served(repository) == 1


def test_a_models_config_that_is_being_saved(folder: Path, open_folder: Callable[[], Repository]) -> None:
    """Editors empty a file before they write it: that is not the wish to serve nothing."""
    write_server_files(folder)
    repository = open_folder()
    (folder / "models.config").write_text("")
    repository.poll()
    assert served(repository) == 1


def test_a_model_that_cannot_be_looked_at_hides_no_other(
    folder: Path, open_folder: Callable[[], Repository], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (folder / "arm").mkdir()
    (folder / "limb" / "1").rename(folder / "arm" / "1")
    write(folder, 1)
    write_server_files(folder)
    look = repository_module.versions_of

    def fail(path: Path) -> list[int]:
        if path.name == "arm":
            raise PermissionError(f"{path} may not be read")
        return look(path)

    monkeypatch.setattr(repository_module, "versions_of", fail)
    repository = open_folder()
    for _ in range(3):
        repository.poll()
        assert repository.available() == {"limb": [1]}
    assert caplog.text.count("versions of arm failed") == 1
    monkeypatch.undo()
    repository.poll()
    assert repository.available() == {"arm": [1], "limb": [1]}


def test_a_slow_disk_holds_up_no_request(
    folder: Path, open_folder: Callable[[], Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, looked = open_folder(), []
    look = repository_module._fingerprint

    def ask_meanwhile(path: Path) -> Any:
        asking = threading.Thread(target=lambda: looked.append(served(repository)), daemon=True)
        asking.start()
        asking.join(30)
        assert not asking.is_alive()
        return look(path)

    monkeypatch.setattr(repository_module, "_fingerprint", ask_meanwhile)
    write(folder, 2, "damaged")
    for _ in range(2):
        repository.poll()
    assert looked == [1, 1]


def test_other_folders_are_no_versions(folder: Path, open_folder: Callable[[], Repository]) -> None:
    for name in (".2-abc", "tmp", "2.bak", "x3"):
        (folder / "limb" / name).mkdir()
    (folder / "limb" / "4").write_text("a file")
    assert states(open_folder()) == {1: "AVAILABLE"}
