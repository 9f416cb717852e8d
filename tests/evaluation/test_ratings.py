import numpy as np
import pytest

from experiments.errors import PaddockError
from experiments.evaluation.rating_errors import mae, rmse


def test_errors_of_ratings():
    assert rmse([3, 5, 1], [3, 1, 1]) == pytest.approx((16 / 3) ** 0.5)
    assert mae([3, 5, 1], [3, 1, 1]) == pytest.approx(4 / 3)
    assert rmse([2.5], [2.5]) == mae([2.5], [2.5]) == 0


def test_equal_to_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, given = np.random.default_rng(1).uniform(1, 5, (2, 200))
    assert mae(predicted, given) == pytest.approx(metrics.mean_absolute_error(given, predicted))
    squared = metrics.mean_squared_error(given, predicted)
    assert rmse(predicted, given) == pytest.approx(squared**0.5)


@pytest.mark.parametrize("measure", [rmse, mae])
def test_what_cannot_be_compared_is_refused(measure):
    for predicted, given in (([], []), ([1], [1, 2]), ([[1]], [[1]])):
        with pytest.raises(PaddockError, match="have shape"):
            measure(predicted, given)
    with pytest.raises(PaddockError, match="1 of 2 ratings are not finite, the first in row 1"):
        measure([1, np.nan], [1, 2])
