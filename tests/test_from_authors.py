"""Each row of the page "From the authors' code": their functions, written anew from the paper."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from redunet import (
    MCR2Loss,
    NearestSubspaceClassifier,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    Search,
    algorithm,
    coding_rate,
    datasets,
    polar_samples,
    rate_reduction,
)
from tests.definitions import log_det
from tests.samples import samples, unit_samples

SETTINGS = {"num_layers": 3, "eta": 0.5, "eps_sq": 0.1, "lam": 50.0}
LABELS = torch.arange(30) % 3
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("shape", [(6,), (4, 7), (3, 4, 5)])
def test_the_history_by_predicted_labels(shape):
    X = samples(30, *shape)
    net = ReduNet.construct(X, LABELS, **SETTINGS)
    V, expected, rates_by_labels = algorithm.to_spectrum(X), [], []
    for layer in algorithm.construct(X, LABELS, **SETTINGS):
        residuals = torch.linalg.vector_norm(V @ layer.C.mT, dim=(1, 3))
        V = algorithm.step(V, layer)
        expected.append(algorithm.rates(V, residuals.argmin(0), 0.1))
        rates_by_labels.append(algorithm.rates(V, LABELS, 0.1))
    predicted = net.residual_norms(X, None).argmin(2)
    found = [
        rate_reduction(Z, labels, 0.1)[1:]
        for Z, labels in zip(list(net.trajectory(X))[1:], predicted, strict=True)
    ]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), **CLOSE)
    history = torch.tensor(np.stack([net.history.expansion, net.history.compression], 1)[1:])
    torch.testing.assert_close(history, torch.tensor(rates_by_labels), **CLOSE)


def test_kernels_begin_at_a_pixel():
    X = samples(30, 1, 8, 9)
    lift = RandomCirculantLift(1, 5, (3, 4), ndim=2).double()
    theirs = functional.conv2d(functional.pad(X, (0, 3, 0, 2), mode="circular"), lift.kernels)
    torch.testing.assert_close(lift(X), theirs.relu().roll((1, 1), (2, 3)), **CLOSE)
    net = ReduNet.construct(X, LABELS, lift=lift, **SETTINGS)
    other = ReduNet.construct(theirs.relu(), LABELS, **SETTINGS)
    torch.testing.assert_close(net(X), other(theirs.relu()).roll((1, 1), (2, 3)), **CLOSE)
    torch.testing.assert_close(net.membership(X), other.membership(theirs.relu()), **CLOSE)


def test_translations_come_shift_by_shift():
    X, labels = samples(4, 2, 6, 6), torch.tensor([0, 1, 1, 0])
    theirs = torch.cat([X.roll((a, b), (2, 3)) for a in (0, 3) for b in (0, 3)])
    ours = datasets.all_shifts(X, 3).transpose(0, 1)
    assert torch.equal(ours.flatten(0, 1), theirs)
    assert labels.repeat(len(ours)).tolist() == [0, 1, 1, 0] * 4


def test_polar_samples_run_the_other_way():
    """Quarters of a turn, for which the interpolation does not matter."""
    images = samples(3, 1, 9, 9)
    turned = [images.rot90(turn, (2, 3)) for turn in range(5)]  # 0° to 360° inclusive
    theirs = torch.stack([image[:, 0, 4, 4:9] for image in turned], 2)
    ours = polar_samples(images, 5, 4)
    torch.testing.assert_close(ours[..., [0, 3, 2, 1, 0]], theirs, **CLOSE)


@pytest.mark.parametrize("center", [False, True])
def test_nearest_subspaces(center):
    Z, new = samples(30, 8), samples(20, 8, seed=1)
    distances = []
    for members in (Z[j::3] for j in range(3)):
        mean = members.mean(0) * center
        basis = torch.linalg.svd(members - mean).Vh[:2]
        distances.append(((new - mean) - (new - mean) @ basis.T @ basis).square().sum(1))
    model = NearestSubspaceClassifier(2, center=center).fit(Z, LABELS)
    difference = -model.decision_function(new) - torch.stack(distances, 1).numpy()
    assert np.ptp(difference, axis=1).max() < 1e-12


def test_the_loss_has_its_factors_in_other_places():
    Z, eps, gam1, gam2 = unit_samples(30, 6), 0.5, 20.0, 0.05
    expansion = log_det(gam1 * 6 / (30 * eps) * Z.T @ Z) / 2
    compression = sum(
        len(members) / 30 * log_det(6 / (len(members) * eps) * members.T @ members) / 2
        for members in (Z[j::3] for j in range(3))
    )
    loss = MCR2Loss(eps_sq=eps, gamma1=1 / gam2, gamma2=gam1)
    torch.testing.assert_close(loss(Z, LABELS), compression - gam2 * expansion, **CLOSE)


def test_an_update_is_not_an_extension():
    X, eps_sq = unit_samples(30, 6), 0.1
    old = ReduNet.construct(X[:20], LABELS[:20], eps_sq=eps_sq, operators="extensible", eta=0.5)
    extended = old.extend(X[20:], LABELS[20:]).layers[0].operators.matrices().expansion
    E_old, E_new, E_all = (
        algorithm.operators(part[None], LABELS[: len(part)], eps_sq)[0]
        for part in (X[:20], X[20:], X)
    )
    torch.testing.assert_close(extended, E_all, **CLOSE)
    averages = [(E_old + tau * (E_new - E_old) - E_all).abs().max() for tau in (0.1, 1 / 3, 1)]
    assert min(averages) > 0.01


@pytest.mark.parametrize(
    ("shape", "lift"),
    [((6,), None), ((4, 7), None), ((3, 4, 5), RandomCirculantLift(3, 5, 3, ndim=2))],
)
def test_checkpoints(shape, lift, example, tmp_path):
    X = samples(30, *shape, dtype=torch.float32)
    lifted_X, tensors = X, {}
    if lift is not None:
        lifted_X, tensors = lift(X), {"0.kernel": lift.kernels}
    layers = algorithm.construct(lifted_X, LABELS, **SETTINGS)
    grid = lifted_X.shape[2:]
    for number, layer in enumerate(layers, start=len(tensors)):
        for name, matrix in zip(("E", "Cs.0", "Cs.1", "Cs.2"), (layer.E, *layer.C), strict=True):
            weight = matrix.movedim(0, 2)
            tensors[f"{number}.{name}.weight"] = weight.reshape(*weight.shape[:2], *grid)
        tensors[f"{number}.gam"] = layer.gamma
    torch.save(tensors, tmp_path / "model.pt")
    np.save(tmp_path / "samples.npy", X)
    printed = example("authors_checkpoint.py", "model.pt", "samples.npy", "--lmbda", "50")
    assert "3 layers" in printed
    expected = algorithm.features(lifted_X, layers)
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "features.npy")), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ReduNet.construct([[1.0]], [0], eps=0.1, lmbda=500),
            "ReduNet.construct() has no keyword 'eps', 'lmbda': did you mean eps_sq=0.1 (the "
            "authors' eps is ε², the same number), lam=500?",
        ),
        (lambda: ReduNet.construct([[1.0]], y=[0]), "did you mean labels=y?"),
        (lambda: ReduNet.construct([[1.0]], [0], num_layer=3), "did you mean num_layers=3?"),
        (lambda: MCR2Loss(gam2=0.05), "did you mean gamma1=1/0.05 (the authors' gam2 stands"),
        (lambda: coding_rate([[1.0]], eps=0.5), "coding_rate() has no keyword 'eps': did you"),
        (lambda: rate_reduction([[1.0]], [0], epsilon=0.5), "did you mean eps_sq=0.5**2 (ε²)?"),
        (lambda: ReduNetClassifier(eps=0.1), "did you mean eps_sq=0.1 "),
        (lambda: NearestSubspaceClassifier(n_comp=10), "did you mean n_components=10?"),
        (lambda: RandomCirculantLift(in_channel=1), "did you mean in_channels=1?"),
        (lambda: Search(eps=1, colour="red"), r"Search() has no keyword 'eps', 'colour'"),
    ],
)
def test_keywords_of_other_code(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


def test_the_page_names_what_there_is():
    page = (Path(__file__).parents[1] / "docs" / "from_authors.md").read_text(encoding="utf-8")
    net = ReduNet.construct(samples(30, 4), LABELS, num_layers=1)
    for name in re.findall(r"`net\.(\w+)", page):
        assert hasattr(net, name) or name in ("init", "get_loss", "batch_forward", "update")
