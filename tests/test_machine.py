"""Memory and processors as this process may use them: real numbers here, made-up containers for the rules."""

from __future__ import annotations

import os

import pytest

from kerasortho import machine

GIB = 1 << 30


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Make this process believe that it is in a container of control groups version 2 or 1."""

    def make(version: int, limit: object, used: int, cached: int = 0, system: int | None = 100 * GIB) -> None:
        _, *names = machine._CGROUPS[0 if version == 2 else 1]
        folder = tmp_path / f"cgroup-{version}"
        folder.mkdir()
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\nfile 7\n")
        places = [(tmp_path / "none", *group[1:]) for group in machine._CGROUPS]
        places[0 if version == 2 else 1] = (folder, *names)
        monkeypatch.setattr(machine, "_CGROUPS", tuple(places))
        monkeypatch.setattr(machine, "_system_memory", lambda: system)

    return make


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_unless_the_user_says_otherwise(monkeypatch, given, kept):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if given is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given)
    machine.prefer_onednn()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == kept


def test_this_machine():
    assert 1 <= machine.processor_count() <= (os.cpu_count() or 1)
    assert (64 << 20) < machine.available_memory() < (1 << 50)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 fma avx512f\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n", True),  # ARM
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("processor\t: 0\nmodel name\t: something else\n", None),
        (None, None),  # no such file: macOS, Windows
    ],
)
def test_dot_products_of_8_bit_numbers(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert machine.multiplies_int8() is expected


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts(container, version):
    container(version, 8 * GIB, 3 * GIB)
    assert machine.available_memory() == 5 * GIB


@pytest.mark.parametrize("version", [1, 2])
def test_cached_files_can_be_taken_back(container, version):
    """After reading 20 GB of images a container's usage is at its limit, and yet nearly all of it is free."""
    container(version, 8 * GIB, 8 * GIB, cached=6 * GIB)
    assert machine.available_memory() == 6 * GIB


def test_the_smaller_of_machine_and_container(container):
    container(2, 8 * GIB, 0, system=2 * GIB)
    assert machine.available_memory() == 2 * GIB


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, 0x7FFFFFFFFFFFF000)])
def test_no_limit(container, version, limit):
    container(version, limit, 3 * GIB)
    assert machine.available_memory() == 100 * GIB


def test_never_negative(container):
    container(2, 1 * GIB, 3 * GIB)
    assert machine.available_memory() == 0


@pytest.mark.parametrize("limit", ["", "lots"])
def test_files_that_make_no_sense_are_passed_over(container, limit):
    container(2, limit, 3 * GIB)
    assert machine.available_memory() == 100 * GIB


def test_nothing_tells(container):
    container(2, "max", 0, system=None)
    assert machine.available_memory() == 4 * GIB


def test_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.processor_count() == 1
