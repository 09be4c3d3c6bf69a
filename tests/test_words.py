"""Words that messages have in common."""

from __future__ import annotations

from kerasortho.words import byte_size, counted, echo


def test_numbers_of_things() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(number, "entry has", "entries have") for number in (1, 2)] == ["1 entry has", "2 entries have"]


def test_long_values_are_cut() -> None:
    assert echo("many") == "'many'" and echo(None) == "None"
    long = echo("a,b\n" * 1000)
    assert len(long) == 80 and long.startswith("'a,b\\na,b") and long.endswith(" ...")


def test_sizes() -> None:
    sizes = [0, 1, 999, 4_000, 6_000_000, 1_500_000_000, 2_000_000_000_000]
    assert [byte_size(size) for size in sizes] == [
        "0 bytes",
        "1 byte",
        "999 bytes",
        "4.0 KB",
        "6.0 MB",
        "1.5 GB",
        "2,000.0 GB",
    ]
