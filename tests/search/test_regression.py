import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy.linalg import hadamard
from sklearn.linear_model import Ridge
from torch.utils.data import DataLoader, TensorDataset

from redunet import Band, ExpansionRegression, MultiScaleLift, ReduNet, Standardize
from tests.samples import samples
from tests.two_processes import needs_two_processes, run_two

LABELS = np.array(list("aaaabbbbbbcccccccc"))
SHAPES = [(5,), (2, 9), (1, 5, 4), (2, 3, 4, 2)]


def problem(*shape, m=18, dtype=torch.float64):
    labels = LABELS[np.arange(m) % len(LABELS)]
    level = np.searchsorted(["a", "b", "c"], labels).reshape(m, *[1] * len(shape))
    return samples(m, *shape, dtype=dtype) * (1 + torch.from_numpy(level).to(dtype)), labels


def lift_for(shape, **options):
    options = {"kernels_per_scale": 8, "nonlinearity": ("relu", "competing"), **options}
    return [Standardize(shape[0]), MultiScaleLift(shape[0], len(shape) - 1, mean=True, **options)]


def assert_same(one, other, **options):
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, **options)


def test_it_is_the_expansion_operator_of_a_network():
    Z = torch.from_numpy(hadamard(8)[:, 1:]).double()  # standardised, and all of one norm
    labels, eps_sq = np.arange(8) // 4, 0.3
    net = ReduNet.construct(Z, labels, num_layers=1, eps_sq=eps_sq)
    E = net.layers[0].operators.matrices().expansion[0]
    reader = ExpansionRegression(eps_sq=eps_sq).fit(Z, labels)
    y = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    expected = E @ (Z / 7**0.5).mT @ (y - y.mean(0))
    torch.testing.assert_close(reader.weights, expected / 7**0.5)
    torch.testing.assert_close(reader(Z), y.mean(0) + Z / 7**0.5 @ expected)


@pytest.mark.parametrize("kernels", [8, 24])
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_are_those_of_ridge_regression(shape, kernels):
    X, labels = problem(*shape)
    lift = lift_for(shape, kernels_per_scale=kernels, nonlinearity="relu", dilations=[1])
    reader = ExpansionRegression(lift, eps_sq=0.2).fit(X, labels)
    Z = reader.lift(X).double()
    Z = (Z - Z.mean(0)) / (Z.std(0, correction=0) * Z.shape[1] ** 0.5)
    y = torch.from_numpy(LABELS[:, None] == np.array(["a", "b", "c"])).double()
    model = Ridge(18 * 0.2 / Z.shape[1]).fit(Z, y)
    assert reader.weights.shape == (kernels, 3)  # more or fewer than the samples
    torch.testing.assert_close(reader(X), torch.from_numpy(model.predict(Z)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_memberships_do_not_change_under_shifts(shape):
    X, labels = problem(*shape)
    reader = ExpansionRegression(lift_for(shape)).fit(X, labels)
    membership = reader.membership(X)
    torch.testing.assert_close(membership.sum(1), torch.ones(18, dtype=X.dtype))
    axes = tuple(range(2, X.ndim))
    shifted = X.roll([3, 1, 1][: len(axes)], axes) if axes else X
    torch.testing.assert_close(reader.membership(shifted), membership, rtol=1e-9, atol=1e-9)
    whole = copy.deepcopy(reader.lift)
    whole[1].mean = False  # the zero frequency of any lift is read
    again = ExpansionRegression(whole, eps_sq=reader.eps_sq_)
    torch.testing.assert_close(again.fit(X, labels)(X), reader(X), rtol=1e-6, atol=1e-6)


def test_choices_are_those_of_the_least_loss():
    X, labels = problem(4)
    chosen = ExpansionRegression().fit(X, labels)
    grid = [
        ExpansionRegression(eps_sq=eps_sq).fit(X, labels) for eps_sq in np.geomspace(1e-4, 1e4, 17)
    ]
    best = min(grid, key=lambda reader: reader.loss_)
    assert chosen.eps_sq_ == best.eps_sq_
    assert chosen.loss_ == pytest.approx(best.loss_)
    target = np.searchsorted(chosen.classes_, labels)
    losses = -(chosen.sharpness_ * chosen.held_out_).log_softmax(1)[np.arange(18), target]
    assert chosen.loss_ == pytest.approx(losses.mean().item(), rel=1e-6)
    assert chosen.accuracy_ == (chosen.held_out_.argmax(1).numpy() == target).mean()


@pytest.mark.parametrize("channels", [5, 30])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_soft_memberships_are_targets(channels, is_weighted):
    X, soft = samples(18, channels), (2 * samples(18, 3, seed=1)).softmax(1)
    weights = samples(18, 1, seed=2).exp()[:, 0] if is_weighted else torch.ones(18).double()
    reader = ExpansionRegression(eps_sq=0.2).fit(X, soft, sample_weight=weights)
    mean = weights @ X / weights.sum()
    Z = (X - mean) / (channels * weights @ (X - mean).square() / weights.sum()).sqrt()

    def solved(rest):
        model = Ridge(weights.sum().item() * 0.2 / channels, solver="cholesky")
        return model.fit(Z[rest], soft[rest], sample_weight=weights[rest])

    for i in range(18):
        expected = solved(np.arange(18) != i).predict(Z[i, None])
        assert reader.held_out_[i].numpy() == pytest.approx(expected[0], abs=1e-10)
    assert reader(X).numpy() == pytest.approx(solved(slice(None)).predict(Z), abs=1e-10)
    assert reader.accuracy_ == pytest.approx(
        weights[reader.held_out_.argmax(1) == soft.argmax(1)].sum().item() / weights.sum().item()
    )
    batched = ExpansionRegression(eps_sq=0.2, most_samples=7)
    batched.fit(X, soft, sample_weight=weights, batch_size=4)
    for name in ("mean", "weights", "offset"):
        torch.testing.assert_close(getattr(batched, name), getattr(reader, name))


def test_memberships_of_one_class_are_labels():
    X, labels = problem(4)
    codes = np.searchsorted(["a", "b", "c"], labels)
    found = ExpansionRegression().fit(X, np.eye(3)[codes])
    assert_same(found, ExpansionRegression().fit(X, codes))
    assert found.classes_.tolist() == [0, 1, 2]


def test_a_network_of_soft_memberships_has_a_reader():
    X, soft = samples(18, 4), (2 * samples(18, 3, seed=1)).softmax(1)
    reader = ExpansionRegression(eps_sq=0.2).fit(X, soft)
    net, bare = (
        ReduNet.construct(X, soft, num_layers=1, eps_sq=0.2, reader=r) for r in (reader, None)
    )
    expected = bare.membership(X) * (reader.sharpness_ * reader(X)).exp()
    torch.testing.assert_close(net.membership(X), expected / expected.sum(1, keepdim=True))


def test_unknown_labels():
    X, labels = problem(4)
    some = labels.copy()
    some[[2, 9]] = "?"
    known = some != "?"
    expected = ExpansionRegression().fit(X[known], labels[known])
    assert_same(ExpansionRegression().fit(X, some, unknown="?"), expected)
    masked = np.ma.array(labels, mask=~known)
    assert_same(ExpansionRegression().fit(X, masked), expected)


@pytest.mark.parametrize("shape", [(5,), (2, 9)])
def test_sums_over_batches_give_the_same(shape):
    X, labels = problem(*shape, m=90)
    lift = None if len(shape) == 1 else torch.nn.Tanh()
    options = {"eps_sq": 0.1}
    whole = ExpansionRegression(lift, **options).fit(X, labels)
    codes = torch.from_numpy(np.searchsorted(["a", "b", "c"], labels))
    loader = DataLoader(TensorDataset(X, codes), 20)
    for data in ((X, labels), (loader,)):
        batched = ExpansionRegression(lift, most_samples=25, **options).fit(*data, batch_size=7)
        for name in ("mean", "weights", "offset"):
            torch.testing.assert_close(getattr(batched, name), getattr(whole, name))
        differences = (batched.held_out_[:, None] - whole.held_out_).abs().amax(2)
        assert differences.shape == (25, 90)
        assert differences.amin(1).max() < 1e-12  # each is left out of all samples


def work(rank, port, folder):
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"tcp://localhost:{port}")
    X, labels = problem(2, 9, m=90)
    mine = slice(0, 30) if rank == 0 else slice(30, 90)
    for name, most in (("whole", 200), ("sums", 30)):
        reader = ExpansionRegression(torch.nn.Tanh(), eps_sq=0.1, most_samples=most)
        reader.fit(X[mine], labels[mine], process_group=dist.group.WORLD)
        torch.save(reader.state_dict(), f"{folder}/{name}-{rank}.pt")
    dist.destroy_process_group()


@needs_two_processes
def test_two_processes(tmp_path):
    run_two(work, tmp_path)
    X, labels = problem(2, 9, m=90)
    expected = ExpansionRegression(torch.nn.Tanh(), eps_sq=0.1).fit(X, labels)
    for name in ("whole", "sums"):
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{name}-{rank}.pt")
            for key in ("mean", "weights", "offset"):
                torch.testing.assert_close(found[key], expected.state_dict()[key])


def test_tiny_classes_are_not_judged():
    X = samples(4, 6)
    reader = ExpansionRegression().fit(X, [0, 0, 1, 1])
    assert np.isnan([reader.loss_, reader.accuracy_]).all()
    assert (reader.eps_sq_, reader.sharpness_) == (0.1, 10.0)
    assert (reader.predict(X) == [0, 0, 1, 1]).all()


def test_channels_that_do_not_vary():
    X, labels = problem(4)
    more = torch.cat([X, torch.full((18, 1), 7.7, dtype=X.dtype)], 1)
    reader = ExpansionRegression(eps_sq=0.5).fit(more, labels)
    assert not reader.weights[-1].any()
    assert reader(more).isfinite().all()
    constant = torch.ones(18, 2)
    assert (ExpansionRegression(eps_sq=1.0).fit(constant, labels)(constant) > 0).all()


def test_single_precision_and_graphs():
    X, labels = problem(1, 16, dtype=torch.float32)
    reader = ExpansionRegression(lift_for((1, 16))).fit(X, labels)
    twin = ExpansionRegression(lift_for((1, 16))).fit(X.double(), labels)
    torch.testing.assert_close(reader.membership(X), twin.membership(X), rtol=0, atol=1e-3)
    graph = torch.export.export(reader, (X,)).module()
    torch.testing.assert_close(graph(X), reader(X))


def test_autocast_changes_nothing():
    X, labels = problem(1, 16, dtype=torch.float32)
    expected = ExpansionRegression(lift_for((1, 16))).fit(X, labels)
    with torch.autocast("cpu"):
        found = ExpansionRegression(lift_for((1, 16))).fit(X, labels)
    assert_same(found, expected)


def test_bands_are_not_needed():
    X, labels = problem(3, 9)
    plain = ExpansionRegression(eps_sq=0.1).fit(X, labels)
    banded = ExpansionRegression(Band(0), eps_sq=0.1).fit(X, labels)
    torch.testing.assert_close(plain(X), banded(X))


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"eps_sq": 0.0}, {}, "eps_sq must be a positive number, got 0.0"),
        ({"most_samples": 0}, {}, "most_samples must be at least 1, got 0"),
        ({}, {"labels": np.zeros(18)}, "at least two classes are needed, got 1 class"),
        ({}, {"labels": np.zeros(17)}, r"labels must have shape \(18,\), or .*got \(17,\) for 18"),
        ({}, {"labels": np.full((18, 2), 0.6)}, "memberships of a sample must sum to one"),
        ({}, {"labels": np.ones((18, 1))}, "at least two classes are needed, got 1 class"),
    ],
)
def test_what_does_not_fit(options, arguments, message):
    X, labels = problem(3)
    arguments = {"labels": labels, **arguments}
    with pytest.raises(ValueError, match=message):
        ExpansionRegression(**options).fit(X, **arguments)


def test_samples_of_another_shape_and_a_regression_that_is_not_fitted():
    X, labels = problem(3)
    with pytest.raises(RuntimeError, match="not fitted: call fit"):
        ExpansionRegression().membership(X)
    reader = ExpansionRegression().fit(X, labels)
    with pytest.raises(ValueError, match=r"expected samples of shape \(3,\)"):
        reader.predict(X[:, :2])
