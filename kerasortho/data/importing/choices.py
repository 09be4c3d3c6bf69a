"""What of a dataset is to be marked: chosen by name, and asked for where more than one thing could be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kerasortho.data.manifest import shorten
from kerasortho.errors import KerasOrthoError, did_you_mean

_SHOWN = 30


def choose(
    available: Mapping[str, str], wanted: Sequence[str], *, source: object, what: str, option: str
) -> tuple[str, ...]:
    """Return the names that were wanted; with none wanted, the only one that there is.

    Args:
        available: every name, with words on it for the list, such as ``749 annotations``.
        wanted: names; each must be one of the available.
        source: the file or folder that has them, for messages.
        what: what they are, in the plural, such as ``categories``.
        option: the option that chooses, such as ``--category``.

    Raises:
        KerasOrthoError: an unknown name, or none wanted where there is not exactly one; both list what there is.
    """
    listed = shorten((f"{name} ({words})" if words else name for name, words in available.items()), _SHOWN)
    for name in wanted:
        if name not in available:
            hint = did_you_mean(name, available)
            raise KerasOrthoError(f'{source} has no "{name}" among its {what}.{hint} They are: {listed or "none"}.')
    if wanted:
        return tuple(dict.fromkeys(wanted))
    if not available:
        raise KerasOrthoError(f"{source} has no {what}: there is nothing to mark.")
    if len(available) > 1:
        raise KerasOrthoError(
            f"{source} has several {what}. Choose what the masks are to mark with {option}, once for each. "
            f"They are: {listed}."
        )
    return tuple(available)
