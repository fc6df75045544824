import math

import pytest
import torch

from redunet.layers.membership.rectified import rectified_residual
from redunet.layers.membership.softmax import soft_membership

NORMS = torch.tensor([[0.1, 0.2, 0.9], [3.0, 2.0, 2.5]], dtype=torch.float64)


def test_softmax_of_minus_lambda_times_the_norms():
    expected = torch.exp(-2 * NORMS) / torch.exp(-2 * NORMS).sum(1, keepdim=True)
    torch.testing.assert_close(soft_membership(NORMS, 2.0), expected)


def test_hard_membership_is_the_limit():
    hard = soft_membership(NORMS, math.inf)
    assert hard.tolist() == [[1, 0, 0], [0, 1, 0]]
    torch.testing.assert_close(soft_membership(NORMS, 1e4), hard)


@pytest.mark.parametrize("lam", [1.0, math.inf])
def test_rows_sum_to_one_even_where_all_norms_tie(lam):
    assert soft_membership(torch.zeros(2, 4), lam).sum(1).tolist() == [1, 1]


def test_rectified_residual_by_hand():
    z = torch.tensor([[3.0, 4.0]])
    parts = torch.tensor([[[3.0, -1.0], [-2.0, 1.0]]])
    assert rectified_residual(z, parts).tolist() == [[0.0, 3.0]]
