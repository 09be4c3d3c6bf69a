"""Whether two yes-or-no facts of images go together more than chance explains: Fisher's exact test."""

from __future__ import annotations

import math


def fisher_exact(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return the two-sided p-value of a two-by-two table: the chance of one as unlikely, its margins given.

    Fisher 1935, Journal of the Royal Statistical Society 98:39; two-sided by summing all tables that are no likelier.
    """
    row, column, total = both + only_first, both + only_second, both + only_first + only_second + neither
    logs = [
        _log_chance(count, row, column, total) for count in range(max(0, row + column - total), min(row, column) + 1)
    ]
    observed = logs[both - max(0, row + column - total)]
    return min(1.0, sum(math.exp(value) for value in logs if value <= observed + 1e-7))


def _log_chance(both: int, row: int, column: int, total: int) -> float:
    """Return the logarithm of the hypergeometric probability of ``both``."""
    return _log_choose(column, both) + _log_choose(total - column, row - both) - _log_choose(total, row)


def _log_choose(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
