"""EASE, RecBole's class, where its equation has no solution."""

import pytest

from experiments.config.resolve import resolve_model
from experiments.errors import PaddockError


def test_a_singular_matrix_is_answered_with_what_to_raise(fit, tiny_data, tiny_split) -> None:  # type: ignore[no-untyped-def]
    # The padding's row of the Gram matrix is 0, and without a ridge it stays so.
    with pytest.raises(PaddockError, match=r"EASE has no solution.*raise model\.reg_weight"):
        fit(resolve_model({"name": "EASE", "reg_weight": 0.0}), tiny_data, tiny_split)
