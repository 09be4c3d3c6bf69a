"""Pseudonyms: stable for one salt, different for another, salts from the environment."""

from __future__ import annotations

import re

import pytest

from kerasortho.data.importing.pseudonyms import Pseudonyms
from kerasortho.errors import KerasOrthoError

SALT = b"sixteen bytes ok"


def test_names() -> None:
    names = Pseudonyms(SALT)
    assert re.fullmatch("g-[0-9a-f]{10}", names.name("PAT-1"))
    assert names.name("PAT-1") == Pseudonyms(SALT).name("PAT-1") != names.name("PAT-2")
    assert names.name("PAT-1") != Pseudonyms(SALT + b"!").name("PAT-1")
    assert names.name("Müller\udce9")  # a name that is not even Unicode


def test_random_salts_never_agree() -> None:
    assert Pseudonyms().name("PAT-1") != Pseudonyms().name("PAT-1")


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(KerasOrthoError, match=r"at least 16 bytes\. Received: 4"):
        Pseudonyms(b"salt")


def test_salt_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSPITAL_SALT", SALT.decode())
    assert Pseudonyms.from_environment("HOSPITAL_SALT").name("1") == Pseudonyms(SALT).name("1")
    assert Pseudonyms.from_environment(None).name("1") != Pseudonyms.from_environment(None).name("1")
    monkeypatch.setenv("HOSPITAL_SALT", "short")
    with pytest.raises(KerasOrthoError, match="HOSPITAL_SALT: A salt must have"):
        Pseudonyms.from_environment("HOSPITAL_SALT")
    monkeypatch.delenv("HOSPITAL_SALT")
    with pytest.raises(KerasOrthoError, match="not set"):
        Pseudonyms.from_environment("HOSPITAL_SALT")
