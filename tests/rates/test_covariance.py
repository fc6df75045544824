import pytest
import torch

from redunet.rates.covariance import (
    RegularisedCovariance,
    log_det,
    second_moment,
)
from redunet.rates.decomposition import leading_directions


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


def rows_and_scale(size, dtype):
    rows = torch.randn(2, *size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return rows, torch.tensor([0.5, 3.0], dtype=rows.real.dtype)


@pytest.mark.parametrize("size", [(3, 8), (8, 3), (5, 5), (1, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_log_det_and_its_derivatives(size, dtype):
    rows, scale = rows_and_scale(size, dtype)
    dense = torch.eye(size[1], dtype=dtype) + scale[:, None, None] * second_moment(rows)
    torch.testing.assert_close(log_det(rows, scale), torch.linalg.slogdet(dense).logabsdet)
    inputs = (rows.requires_grad_(), scale.requires_grad_())
    assert torch.autograd.gradcheck(log_det, inputs)
    assert torch.autograd.gradgradcheck(log_det, inputs)


def test_log_det_inside_of_function_transforms():
    rows, scale = rows_and_scale((3, 8), torch.float64)
    gradient = torch.func.grad(lambda t: log_det(t, scale).sum())(rows)
    expected = rows.clone().requires_grad_()
    log_det(expected, scale).sum().backward()
    torch.testing.assert_close(gradient, expected.grad)


@pytest.mark.parametrize("size", [(3, 8), (20, 8), (8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("length", [1e-15, 1.0, 30.0, 300.0, 1e3, 2e3, 1e4, 1e6, 1e12])
def test_log_det_of_features_of_any_length(size, dtype, length):
    rows, scale = rows_and_scale(size, dtype)
    rows[:, 1:3] = rows[:, :1]  # of low rank, so that the large matrix is singular
    rows = (length * rows).requires_grad_()
    value = log_det(rows, scale)
    distinct = rows.detach()[:, 2:].to(torch.promote_types(dtype, torch.float64))
    distinct[:, 0] *= 3**0.5  # has the second moment of three equal rows
    exact = torch.linalg.svdvals(distinct)
    expected = torch.log1p(scale[:, None] * exact.square()).sum(-1)
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-6)
    value.sum().backward()
    assert torch.isfinite(torch.view_as_real(rows.grad) if rows.is_complex() else rows.grad).all()


def test_log_dets_and_gradients_of_a_batch_of_very_different_lengths():
    rows, scale = rows_and_scale((3, 8), torch.float32)
    lengths = torch.logspace(0, 12, len(rows))[:, None, None]
    rows[:, 1:] = rows[:, :1]
    rows = (lengths * rows).requires_grad_()
    exact = rows.detach().double().requires_grad_()
    value, expected = log_det(rows, scale), log_det(exact, scale.double())
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=0)
    value.sum().backward()
    expected.sum().backward()
    for row, found, wanted in zip(lengths, rows.grad.double(), exact.grad, strict=True):
        torch.testing.assert_close(row * found, row * wanted, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("size", [(5, 9), (5, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("sparse", [False, True])
def test_log_det_wherever_the_long_sample_is(size, dtype, position, sparse):
    generator = torch.Generator().manual_seed(position)
    entries = torch.randn(size[::-1], generator=generator, dtype=dtype)
    directions = torch.eye(*size, dtype=dtype) if sparse else torch.linalg.qr(entries).Q.mT
    lengths = torch.tensor([1e30, 1e12, 1.0, 3.0, 1e-20], dtype=torch.float64).roll(position)
    rows = (lengths[:, None] * directions).requires_grad_()
    scale = torch.tensor(2.0, dtype=torch.float64)
    # Copies of the shortest sample: then there are more samples than channels.
    for samples in (rows, torch.cat([rows, *[rows[lengths == 1e-20]] * 3])):
        value = log_det(samples, scale)
        expected = torch.log1p(2 * lengths.square()).sum()
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
        (gradient,) = torch.autograd.grad(value, rows)
        exact = rows.detach() * (4 / (1 + 2 * lengths.square()))[:, None]
        scales = lengths[:, None]  # of the samples: the gradient is relative to them
        torch.testing.assert_close(gradient * scales, exact * scales, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 9), (9, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_leading_directions_are_right_singular_vectors(size, dtype):
    Z = torch.randn(2, *size, generator=torch.Generator().manual_seed(0), dtype=dtype)
    values, directions = leading_directions(Z, 3)
    _, expected, vh = torch.linalg.svd(Z, full_matrices=False)
    vh = vh[:, :3]
    torch.testing.assert_close(values, expected[:, :3].square())
    projections = (directions.mT @ directions.conj(), vh.mT @ vh.conj())
    torch.testing.assert_close(*projections)
    gram = directions @ directions.mH
    torch.testing.assert_close(gram, torch.eye(3, dtype=dtype).expand(2, 3, 3))


def test_directions_beyond_the_rank_are_zero():
    Z = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 6)).double()
    values, directions = leading_directions(Z, 4)
    torch.testing.assert_close(
        directions.norm(dim=1), torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    )
    assert (values > 0).tolist() == [True, False, False, False]
