import pytest
import torch

from redunet.layers import DenseOperator, LowRankOperator, Operator, Operators
from redunet.layers.operators import responses as module
from redunet.layers.operators.responses import Responses
from tests.samples import responses_of

F, m, k, C, r = 5, 7, 9, 4, 2


def random(*shape, dtype, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=[torch.float64, torch.complex128])
def dtype(request):
    return request.param


@pytest.fixture(params=["dense", "low rank", "few samples"])
def setting(request, dtype):
    """Operators, their matrices E and Cʲ, and samples."""
    E = random(F, C, C, dtype=dtype, seed=0)
    V = random(F, m, C, dtype=dtype, seed=2)
    if request.param == "dense":
        Cs = random(F, k, C, C, dtype=dtype, seed=1)
        return Operators(DenseOperator(E[:, None]), DenseOperator(Cs)), E, Cs, V
    W = random(F, k, r, C, dtype=dtype, seed=1) / 4
    scales = torch.arange(1.0, k + 1, dtype=torch.float64)
    Cs = scales[:, None, None] * (torch.eye(C) - W.mH @ W)
    if request.param == "low rank":
        return Operators(DenseOperator(E[:, None]), LowRankOperator(W, scales)), E, Cs, V
    U, scale = random(F, 3, C, dtype=dtype, seed=4) / 4, torch.tensor([0.7], dtype=torch.float64)
    low_rank = Operators(LowRankOperator(U[:, None], scale), LowRankOperator(W, scales))
    return low_rank, scale * (torch.eye(C) - U.mH @ U), Cs, V


def soft(seed=3):
    return random(m, k, dtype=torch.float64, seed=seed).abs()


def decided():
    """Most samples with one class, some with two, as sharp memberships are."""
    weights = torch.full((m, k), 1e-30, dtype=torch.float64)
    weights[torch.arange(m), torch.arange(m) * 5 % k] = torch.linspace(0.1, 2, m).double()
    weights[3] = soft()[3]
    return weights


def combined(ops, V, weights):
    return torch.cat(list(responses_of(ops.compression, V).combine(weights)))


@pytest.mark.parametrize("weights", [soft(), decided(), torch.eye(k, dtype=torch.float64)[:m]])
def test_products_are_the_plain_sums(setting, weights):
    ops, E, Cs, V = setting
    responses = torch.einsum("fkdc,fmc->fmkd", Cs, V)
    torch.testing.assert_close(ops.expand(V), torch.einsum("fdc,fmc->fmd", E, V))
    torch.testing.assert_close(ops.respond(V), responses)
    norms = responses.abs().square().sum((0, 3)).sqrt()
    torch.testing.assert_close(responses_of(ops.compression, V).norms(), norms)
    compressed = torch.einsum("mk,fmkd->fmd", weights.to(V.dtype), responses)
    torch.testing.assert_close(combined(ops, V, weights), compressed)


@pytest.mark.parametrize("weights", [soft(), decided()])
def test_blocks_of_frequencies_give_the_same_numbers(setting, weights, monkeypatch):
    ops, _, _, V = setting
    norms, compressed = responses_of(ops.compression, V).norms(), combined(ops, V, weights)
    entries = 2 * m * ops.compression.width  # of two frequencies
    monkeypatch.setitem(module.BLOCK_BYTES, "cpu", entries * V.element_size())
    assert len(responses_of(ops.compression, V).blocks) == 3
    torch.testing.assert_close(responses_of(ops.compression, V).norms(), norms)
    torch.testing.assert_close(combined(ops, V, weights), compressed)


def test_vectors_keep_their_responses():
    V = random(1, m, C, dtype=torch.float64, seed=0)
    operator = DenseOperator(random(1, k, C, C, dtype=V.dtype, seed=1))
    expected = torch.einsum("mk,fkdc,fmc->fmd", soft(), operator.values, V)
    torch.testing.assert_close(torch.cat(list(responses_of(operator, V).combine(soft()))), expected)
    expected = torch.einsum("fkdc,fmc->fmkd", operator.values, V)
    torch.testing.assert_close(operator.respond(V), expected)


def test_weights_below_rounding_make_no_subnormal_numbers(setting):
    ops, _, _, V = setting
    weights = torch.full((m, k), 1e-320, dtype=torch.float64)
    weights[:, 0] = 1.0
    torch.testing.assert_close(
        combined(ops, V, weights), combined(ops, V, (weights > 0.5).double()), rtol=0, atol=0
    )


def test_gradients_reach_the_operators(setting):
    ops, _, _, V = setting
    ops.requires_grad_(True)
    responses = responses_of(ops.compression, V)
    weights = torch.softmax(-responses.norms(), 1)
    (ops.expand(V) - torch.cat(list(responses.combine(weights)))).abs().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in ops.parameters())


@pytest.mark.parametrize("move", [lambda o: o.to(torch.float32), lambda o: o.float()])
def test_moving_to_another_precision_keeps_imaginary_parts(setting, move):
    ops, E, _, _ = setting
    before = {name: p.detach().clone() for name, p in ops.named_parameters()}
    moved = move(ops)
    single = torch.complex64 if E.is_complex() else torch.float32
    for name, parameter in moved.named_parameters():
        assert parameter.dtype == single
        torch.testing.assert_close(parameter.data, before[name].to(single))
    restored = dict(moved.double().named_parameters())
    assert all(restored[name].dtype == E.dtype for name in before)


def test_operators_are_frozen_parameters(setting):
    ops, *_ = setting
    assert len(dict(ops.named_parameters())) == 2
    assert not any(p.requires_grad for p in ops.parameters())


def test_they_describe_themselves(setting):
    ops, *_ = setting
    assert ops.description in {"dense", "rank 2", "rank 2, E of rank 3"}
    assert "channels=4" in repr(ops)


def test_matrices_are_written_out(setting):
    ops, E, Cs, _ = setting
    torch.testing.assert_close(ops.matrices().expansion.data, E)
    torch.testing.assert_close(ops.matrices().compression.data, Cs)
    # Of any representation: responses to unit vectors.
    torch.testing.assert_close(Operator.matrices(ops.expansion).data[:, 0], E)
    torch.testing.assert_close(Operator.matrices(ops.compression).data, Cs)


def test_the_real_form_acts_on_real_and_imaginary_parts(setting):
    ops, _, _, V = setting

    def as_reals(t):
        return torch.cat([t.real, t.imag], -1) if t.is_complex() else t

    real = ops.real_form()
    assert not any(t.is_complex() for t in real.state_dict().values())
    torch.testing.assert_close(real.expand(as_reals(V)).data, as_reals(ops.expand(V)).data)
    torch.testing.assert_close(real.respond(as_reals(V)).data, as_reals(ops.respond(V)).data)


def test_operators_are_made_of_their_tensors_by_name(setting):
    ops, _, _, V = setting
    for operator in (ops.expansion, ops.compression):
        twin = type(operator)(**operator.state_dict())
        assert torch.equal(twin.respond(V), operator.respond(V))


def test_responses_in_general_are_the_same(setting):
    # Those of a kind that has nothing faster.
    ops, _, _, V = setting
    plain = Responses(V, ops.compression)
    torch.testing.assert_close(plain.norms(), responses_of(ops.compression, V).norms())
    torch.testing.assert_close(torch.cat(list(plain.combine(soft()))), combined(ops, V, soft()))


def test_residuals_in_classes_that_are_all_close():
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(40, generator=generator, dtype=torch.float64)
    # Factors of three classes that all explain nearly the whole of every sample.
    noise = torch.randn(3, 2, 40, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr((common + 1e-2 * noise).mT).Q.mT  # (3, 2, 40)
    V = common + 1e-2 * torch.randn(1, 20, 40, generator=generator, dtype=torch.float64)
    V = V / torch.linalg.vector_norm(V, dim=2, keepdim=True)
    inside = torch.einsum("krc,krd,fmd->mkc", basis, basis, V)
    expected = torch.linalg.vector_norm(V[0, :, None] - inside, dim=2)
    assert expected.max() < 0.02
    W, scales = basis[None].float(), torch.ones(3)
    ((_, responses),) = LowRankOperator(W, scales).responses(V.float())
    found = responses.norms().double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
