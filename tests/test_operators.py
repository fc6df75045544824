import pytest
import torch

from redunet import operators
from redunet.operators import DenseOperators

F, m, k, C = 5, 7, 3, 4


def random(*shape, dtype, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=[torch.float64, torch.complex128])
def setting(request):
    dtype = request.param
    E = random(F, C, C, dtype=dtype, seed=0)
    Cs = random(F, k, C, C, dtype=dtype, seed=1)
    V = random(F, m, C, dtype=dtype, seed=2)
    weights = random(m, k, dtype=torch.float64, seed=3).abs()
    return DenseOperators(E, Cs), E, Cs, V, weights


def test_products_are_the_plain_sums(setting):
    ops, E, Cs, V, weights = setting
    responses = torch.einsum("fkdc,fmc->fmkd", Cs, V)
    torch.testing.assert_close(ops.expand(V), torch.einsum("fdc,fmc->fmd", E, V))
    torch.testing.assert_close(ops.respond(V).stack(), responses)
    norms = responses.abs().square().sum((0, 3)).sqrt()
    torch.testing.assert_close(ops.respond(V).norms(), norms)
    compressed = torch.einsum("mk,fmkd->fmd", weights.to(V.dtype), responses)
    torch.testing.assert_close(ops.respond(V).combine(weights), compressed)


def test_blocks_of_frequencies_give_the_same_numbers(setting, monkeypatch):
    ops, _, _, V, weights = setting
    monkeypatch.setitem(operators.BLOCK_ENTRIES, "cpu", 10**9)
    norms, compressed = ops.respond(V).norms(), ops.respond(V).combine(weights)
    monkeypatch.setitem(operators.BLOCK_ENTRIES, "cpu", 2 * m * k * C)
    torch.testing.assert_close(ops.respond(V).norms(), norms)
    torch.testing.assert_close(ops.respond(V).combine(weights), compressed)


@pytest.mark.parametrize("move", [lambda o: o.to(torch.float32), lambda o: o.float()])
def test_moving_to_another_precision_keeps_imaginary_parts(setting, move):
    ops, E, Cs, _, _ = setting
    moved = move(ops)
    single = torch.complex64 if E.is_complex() else torch.float32
    assert moved.expansion.dtype == moved.compression.dtype == single
    torch.testing.assert_close(moved.expansion.data, E.to(single))
    torch.testing.assert_close(moved.double().compression.data, Cs.to(single).to(E.dtype))


def test_operators_are_frozen_parameters(setting):
    ops, *_ = setting
    parameters = dict(ops.named_parameters())
    assert set(parameters) == {"expansion", "compression"}
    assert not any(p.requires_grad for p in parameters.values())
