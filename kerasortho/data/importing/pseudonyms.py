"""Names in place of identities: patients can be told apart, and nobody can be found again by the name."""

from __future__ import annotations

import hashlib
import os
import secrets

from kerasortho.errors import KerasOrthoError

_SALT_BYTES = 32
_SHORTEST_SALT = 16
_DIGEST_BYTES = 5  # 40 bits: among 100,000 patients two share a name with a chance of 0.5 %, and then stay in one split


class Pseudonyms:
    """Salted hashes of identities such as patient IDs, for the manifest's column ``group``.

    The salt is never written anywhere. Without one a random salt is drawn, so that the names of one object agree with
    each other and with those of no other import.

    Args:
        salt: secret bytes, at least 16; None draws 32 random ones.

    Raises:
        KerasOrthoError: the salt is too short; the few patient IDs that there are could then be tried out.
    """

    def __init__(self, salt: bytes | None = None) -> None:
        salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
        if len(salt) < _SHORTEST_SALT:
            raise KerasOrthoError(f"A salt must have at least {_SHORTEST_SALT} bytes. Received: {len(salt)}.")
        self._key = hashlib.blake2b(salt).digest()

    @classmethod
    def from_environment(cls, variable: str | None) -> Pseudonyms:
        """Return pseudonyms salted with an environment variable's text; with a random salt where ``variable`` is None.

        Raises KerasOrthoError where the variable is not set or too short.
        """
        if variable is None:
            return cls()
        text = os.environ.get(variable)
        if not text:
            raise KerasOrthoError(
                f"--salt-env names the environment variable {variable}, which is not set. Set it to a secret text of "
                f"at least {_SHORTEST_SALT} characters, the same for every import whose groups must agree."
            )
        try:
            return cls(text.encode("utf-8", "surrogateescape"))
        except KerasOrthoError as error:
            raise KerasOrthoError(f"The environment variable {variable}: {error}") from None

    def name(self, text: str, prefix: str = "g") -> str:
        """Return the pseudonym of ``text``: prefix, ``-`` and ten hexadecimal digits, keyed BLAKE2b (RFC 7693)."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self._key, digest_size=_DIGEST_BYTES)
        return f"{prefix}-{digest.hexdigest()}"
