import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy.linalg import hadamard
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
    reader = ExpansionRegression(degree=1, eps_sq=eps_sq).fit(Z, labels)
    y = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    expected = E @ (Z / 7**0.5).mT @ (y - y.mean(0))
    torch.testing.assert_close(reader.weights, expected)
    torch.testing.assert_close(reader(Z), y.mean(0) + Z / 7**0.5 @ expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("degree", [1, 2])
def test_scores_are_those_of_ridge_regression(shape, degree):
    X, labels = problem(*shape)
    reader = ExpansionRegression(lift_for(shape), degree=degree, eps_sq=0.2).fit(X, labels)
    Z = reader.lift(X).double()
    Z = Z - Z.mean(0)
    deviation = Z.std(0, correction=0)
    Z = torch.where(deviation > 1e-12, Z / deviation, 0) / Z.shape[1] ** 0.5
    kernel = Z @ Z.mT if degree == 1 else (1 + Z @ Z.mT).square()
    centre = torch.eye(18, dtype=torch.float64) - 1 / 18
    kernel = centre @ kernel @ centre
    kernel = kernel / kernel.diagonal().mean()
    y = torch.from_numpy(LABELS[:, None] == np.array(["a", "b", "c"])).double()
    lam = 18 * 0.2 / Z.shape[1]
    dual = torch.linalg.solve(kernel + lam * torch.eye(18, dtype=Z.dtype), y - y.mean(0))
    tolerance = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(reader(X), y.mean(0) + kernel @ dual, **tolerance)
    assert reader.weights.shape == ((Z.shape[1], 3) if degree == 1 else (18, 3))


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
    again = ExpansionRegression(whole, degree=reader.degree_, eps_sq=reader.eps_sq_)
    torch.testing.assert_close(again.fit(X, labels)(X), reader(X), rtol=1e-6, atol=1e-6)


def test_choices_are_those_of_the_least_loss():
    X, labels = problem(4)
    chosen = ExpansionRegression().fit(X, labels)
    grid = [
        ExpansionRegression(degree=degree, eps_sq=eps_sq).fit(X, labels)
        for degree in (1, 2)
        for eps_sq in np.geomspace(1e-4, 1e4, 17)
    ]
    best = min(grid[:17], key=lambda reader: reader.loss_)
    second = min(grid[17:], key=lambda reader: reader.loss_)
    best = second if best.loss_ - second.loss_ > 1 / 18 else best
    assert (chosen.degree_, chosen.eps_sq_) == (best.degree_, best.eps_sq_)
    assert chosen.loss_ == pytest.approx(best.loss_)
    target = np.searchsorted(chosen.classes_, labels)
    losses = -(chosen.sharpness_ * chosen.held_out_).log_softmax(1)[np.arange(18), target]
    assert chosen.loss_ == pytest.approx(losses.mean().item(), rel=1e-6)
    assert chosen.accuracy_ == (chosen.held_out_.argmax(1).numpy() == target).mean()


@pytest.mark.parametrize(("degree", "channels"), [(1, 3), (1, 40), (2, 3)])
def test_weights_are_repetitions(degree, channels):
    X, labels = problem(channels)
    weights = np.arange(18) % 3
    options = {"degree": degree, "eps_sq": 0.1}
    weighted = ExpansionRegression(**options).fit(X, labels, sample_weight=weights)
    repeated = ExpansionRegression(**options).fit(
        X.repeat_interleave(torch.from_numpy(weights), 0), np.repeat(labels, weights)
    )
    torch.testing.assert_close(weighted(X), repeated(X))
    twice = ExpansionRegression(**options).fit(X, labels, sample_weight=2e6 * weights)
    assert_same(weighted, twice)


def test_balanced_classes():
    X, labels = problem(3)
    _, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    options = {"degree": 1, "eps_sq": 0.1}
    balanced = ExpansionRegression(balanced=True, **options).fit(X, labels)
    weighted = ExpansionRegression(**options).fit(X, labels, sample_weight=1 / counts[positions])
    torch.testing.assert_close(balanced.weights, weighted.weights)
    torch.testing.assert_close(balanced.offset, torch.full((3,), 1 / 3, dtype=X.dtype))


def test_soft_labels_and_unknown_ones():
    X, labels = problem(4)
    hard = ExpansionRegression().fit(X, labels)
    soft = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    assert_same(ExpansionRegression().fit(X, soft), hard)
    assert_same(ExpansionRegression().fit(X, soft, sample_weight=np.ones(18)), hard)
    mixed = 0.9 * soft + 0.1 / 3
    reader = ExpansionRegression(degree=1, eps_sq=0.1).fit(X, mixed)
    exact = ExpansionRegression(degree=1, eps_sq=0.1).fit(X, labels)
    torch.testing.assert_close(reader.weights, 0.9 * exact.weights)  # regression is linear
    some = labels.copy()
    some[[2, 9]] = "?"
    known = some != "?"
    expected = ExpansionRegression().fit(X[known], labels[known])
    assert_same(ExpansionRegression().fit(X, some, unknown="?"), expected)
    masked = np.ma.array(labels, mask=~known)
    assert_same(ExpansionRegression().fit(X, masked), expected)
    weighted = ExpansionRegression().fit(X, some, unknown="?", sample_weight=np.full(18, 3.0))
    assert_same(weighted, expected)
    assert list(weighted.classes_) == ["a", "b", "c"]


@pytest.mark.parametrize("shape", [(5,), (2, 9)])
def test_sums_over_batches_give_the_same(shape):
    X, labels = problem(*shape, m=90)
    lift = None if len(shape) == 1 else torch.nn.Tanh()
    options = {"degree": 1, "eps_sq": 0.1}
    whole = ExpansionRegression(lift, **options).fit(X, labels)
    codes = torch.from_numpy(np.searchsorted(["a", "b", "c"], labels))
    loader = DataLoader(TensorDataset(X, codes), 20)
    for data in ((X, labels), (loader,)):
        batched = ExpansionRegression(lift, most_samples=25, **options).fit(*data, batch_size=7)
        for name in ("mean", "gain", "weights", "offset"):
            torch.testing.assert_close(getattr(batched, name), getattr(whole, name))
        differences = (batched.held_out_[:, None] - whole.held_out_).abs().amax(2)
        assert differences.shape == (25, 90)
        assert differences.amin(1).max() < 1e-12  # each is left out of all samples
    chosen = ExpansionRegression(lift, most_samples=60).fit(X, labels)
    assert chosen.degree_ == 1


def work(rank, port, folder):
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"tcp://localhost:{port}")
    X, labels = problem(2, 9, m=90)
    mine = slice(0, 30) if rank == 0 else slice(30, 90)
    for name, most in (("whole", 200), ("sums", 30)):
        reader = ExpansionRegression(torch.nn.Tanh(), degree=1, eps_sq=0.1, most_samples=most)
        reader.fit(X[mine], labels[mine], process_group=dist.group.WORLD)
        torch.save(reader.state_dict(), f"{folder}/{name}-{rank}.pt")
    dist.destroy_process_group()


@needs_two_processes
def test_two_processes(tmp_path):
    run_two(work, tmp_path)
    X, labels = problem(2, 9, m=90)
    expected = ExpansionRegression(torch.nn.Tanh(), degree=1, eps_sq=0.1).fit(X, labels)
    for name in ("whole", "sums"):
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{name}-{rank}.pt")
            for key in ("mean", "gain", "weights", "offset"):
                torch.testing.assert_close(found[key], expected.state_dict()[key])


def test_tiny_classes_are_not_judged():
    X = samples(4, 6)
    reader = ExpansionRegression().fit(X, [0, 0, 1, 1])
    assert np.isnan([reader.loss_, reader.accuracy_]).all()
    assert (reader.degree_, reader.eps_sq_, reader.sharpness_) == (1, 0.1, 10.0)
    assert (reader.predict(X) == [0, 0, 1, 1]).all()


def test_channels_that_do_not_vary():
    X, labels = problem(4)
    more = torch.cat([X, torch.full((18, 1), 7.7, dtype=X.dtype)], 1)
    reader = ExpansionRegression(degree=2, eps_sq=0.5).fit(more, labels)
    assert reader.gain[-1] == 0
    assert reader(more).isfinite().all()
    constant = torch.ones(18, 2)
    assert (ExpansionRegression(degree=1, eps_sq=1.0).fit(constant, labels)(constant) > 0).all()


def test_single_precision_and_graphs():
    X, labels = problem(1, 16, dtype=torch.float32)
    for degree in (1, 2):
        reader = ExpansionRegression(lift_for((1, 16)), degree=degree).fit(X, labels)
        twin = ExpansionRegression(lift_for((1, 16)), degree=degree).fit(X.double(), labels)
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
    plain = ExpansionRegression(degree=1, eps_sq=0.1).fit(X, labels)
    banded = ExpansionRegression(Band(0), degree=1, eps_sq=0.1).fit(X, labels)
    torch.testing.assert_close(plain(X), banded(X))


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"degree": 3}, {}, "degree must be 1, 2 or None, got 3"),
        ({"eps_sq": 0.0}, {}, "eps_sq must be a positive number, got 0.0"),
        ({"most_samples": 0}, {}, "most_samples must be at least 1, got 0"),
        ({"degree": 2, "most_samples": 5}, {}, "18 are more than most_samples=5: pass degree=1"),
        ({}, {"labels": np.zeros(18)}, "at least two classes are needed, got 1 class"),
        ({}, {"labels": np.zeros(17)}, r"labels must have shape \(18,\), or .*got \(17,\) for 18"),
        ({}, {"labels": np.full((18, 2), 0.4)}, "must sum to one"),
        ({}, {"sample_weight": np.ones(3)}, r"18 finite numbers of at least 0 .*got shape \(3,\)"),
        ({}, {"sample_weight": -np.ones(18)}, "sample_weight must be 18 finite numbers"),
        ({}, {"sample_weight": np.zeros(18)}, "sample_weight must be 18 finite numbers"),
        ({}, {"labels": None, "sample_weight": np.ones(18)}, "sample_weight is for arrays"),
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
