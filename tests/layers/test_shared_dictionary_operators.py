"""Operators from one dictionary against their matrices."""

import pytest
import torch

from redunet.layers import DictionaryOperator, Operators
from redunet.layers.operators import responses as module
from tests.samples import responses_of


def operators_of(dtype, *, frequencies=3, classes=4, atoms=5, channels=6):
    """Any operators of this representation, and their matrices."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape, dtype=dtype):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    dictionary = random(frequencies, atoms, channels)
    cores = random(frequencies, 1 + classes, atoms, atoms) / 10
    codes = random(frequencies, 1 + classes, atoms, dtype=torch.float64).abs()
    scales = torch.arange(1.0, 2 + classes, dtype=torch.float64)
    explained = torch.einsum("fqa,fnqr,frb->fnab", dictionary, cores, dictionary.conj())
    matrices = scales[:, None, None] * (torch.eye(channels) - explained)
    E, C = (
        DictionaryOperator(dictionary.clone(), cores[:, part], codes[:, part], scales[part])
        for part in (slice(1), slice(1, None))
    )
    operators = Operators(E, C)
    return operators, matrices[:, 0], matrices[:, 1:], random(frequencies, 7, channels)


def memberships(kind):
    weights = torch.rand(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "soft":
        return weights
    decided = torch.full_like(weights, 1e-30)
    decided[torch.arange(7), torch.arange(7) * 3 % 4] = torch.linspace(0.1, 2, 7).double()
    if kind == "mixed":
        decided[3] = weights[3]
    return decided


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", ["soft", "decided", "mixed"])
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 2**24])
def test_norms_and_sums_are_those_of_the_matrices(dtype, kind, reads, block_bytes, monkeypatch):
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", block_bytes)
    monkeypatch.setitem(module.COST_OF_READING, "cpu", 0 if reads else float("inf"))
    operators, E, Cs, V = operators_of(dtype)
    weights = memberships(kind)
    expected = torch.einsum("fkab,fmb->fmka", Cs, V)
    torch.testing.assert_close(operators.expand(V), torch.einsum("fab,fmb->fma", E, V))
    torch.testing.assert_close(operators.respond(V), expected)
    responses = responses_of(operators.compression, V)
    torch.testing.assert_close(responses.norms(), expected.abs().square().sum((0, 3)).sqrt())
    sums = torch.cat(list(responses.combine(weights)))
    torch.testing.assert_close(sums, torch.einsum("mk,fmka->fma", weights.to(dtype), expected))


@pytest.mark.parametrize("samples", [2, 30])
def test_few_and_many_samples_have_the_same_norms(samples):
    operators, _, Cs, _ = operators_of(torch.float64)
    V = torch.randn(3, samples, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = torch.einsum("fkab,fmb->fmka", Cs, V).square().sum((0, 3)).sqrt()
    torch.testing.assert_close(responses_of(operators.compression, V).norms(), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_real_form_acts_on_real_and_imaginary_parts(dtype):
    operators, _, _, V = operators_of(dtype)

    def as_reals(t):
        return torch.cat([t.real, t.imag], -1) if t.is_complex() else t

    real = operators.real_form()
    assert not any(t.is_complex() for t in real.state_dict().values())
    torch.testing.assert_close(real.expand(as_reals(V)), as_reals(operators.expand(V)))
    torch.testing.assert_close(real.respond(as_reals(V)), as_reals(operators.respond(V)))
