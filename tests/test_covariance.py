import pytest
import torch

from redunet.covariance import RegularisedCovariance, second_moment


@pytest.mark.parametrize("size", [(3, 8), (8, 3), (5, 5), (1, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_both_sides_are_the_dense_matrix(size, dtype):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, *size, generator=generator, dtype=dtype)
    scale = torch.tensor([0.5, 3.0], dtype=torch.float64)
    dense = torch.stack(
        [
            torch.eye(size[1], dtype=dtype) + a * sum(torch.outer(v, v.conj()) for v in sample)
            for a, sample in zip(scale, rows, strict=True)
        ]
    )
    for covariance in (
        RegularisedCovariance.from_samples(rows, scale),
        RegularisedCovariance.from_moment(second_moment(rows), scale),
    ):
        torch.testing.assert_close(covariance.log_det(), torch.linalg.slogdet(dense).logabsdet)
        torch.testing.assert_close(covariance.inverse(), torch.linalg.inv(dense))


def test_few_samples_are_factorised_on_their_own_side():
    rows = torch.ones(2, 50)
    assert RegularisedCovariance.from_samples(rows, torch.ones(())).factor.shape == (2, 2)
    assert RegularisedCovariance.from_samples(rows.T, torch.ones(())).factor.shape == (2, 2)
