import numpy as np
import pytest
from matplotlib import pyplot as plt

from redunet.inspection.plots.pairs import plot_pairs
from redunet.rates import pairwise_rate_reduction
from tests.samples import samples


@pytest.mark.parametrize(("names", "numbers"), [("abc", 6), ("abcdefghijklmn", 0)])
def test_fields_are_rate_reductions_of_pairs(names, numbers):
    Z, labels = samples(3 * len(names), 6), np.array(list(names) * 3)
    ax = plot_pairs(Z, labels, 0.5)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert np.isnan(drawn.diagonal()).all()
    expected = pairwise_rate_reduction(Z, labels, 0.5).numpy()
    np.testing.assert_allclose(np.nan_to_num(drawn), expected)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(names)
    assert len(ax.texts) == numbers


def test_it_draws_on_given_axes_and_takes_features_with_gradients():
    _, ax = plt.subplots()
    Z = samples(8, 3, 4).requires_grad_()
    assert plot_pairs(Z, [0, 1] * 4, 0.1, ax=ax) is ax
    assert ax.texts[0].get_text() == ax.texts[1].get_text()
