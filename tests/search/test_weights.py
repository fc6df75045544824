"""Weights of samples and of classes, in constructions, searches and regressions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch.utils.data import TensorDataset

from redunet import ExpansionRegression, ReduNet, ReduNetClassifier, ReduNetWarning, Search
from redunet.rates import HalfSpectrum, Partition
from redunet.rates.spectrum import project_to_sphere
from redunet.search.calibration import Judge, calibrate
from redunet.search.leave_one_out import held_out_residuals
from tests.samples import samples

WEIGHTS = np.array([2, 0, 1, 3, 1, 4, 1, 2, 0, 1, 2, 1, 1, 3, 1, 2, 1, 1])
LABELS = np.arange(18) % 3
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def problem(*shape, m=18):
    labels = np.arange(m) % 3
    scale = torch.from_numpy(1 + labels / 2).view(m, *[1] * len(shape))
    return samples(m, *shape) * scale


def repeated(X):
    return X[np.repeat(np.arange(18), WEIGHTS)]


@pytest.mark.parametrize(
    "options", [{}, {"true_membership": True}, {"operators": "variational", "rank": 3}]
)
@pytest.mark.parametrize("shape", [(5,), (30,), (3, 6)])
def test_a_construction_from_weights_is_that_from_repeated_samples(shape, options):
    X = problem(*shape)
    settings = {"num_layers": 3, "eps_sq": 0.3, **options}
    net = ReduNet.construct(X, LABELS, sample_weight=WEIGHTS, **settings)
    twin = ReduNet.construct(repeated(X), repeated(LABELS), **settings)
    torch.testing.assert_close(net.history.delta, twin.history.delta, **EXACT)
    torch.testing.assert_close(net(X), twin(X), **EXACT)
    torch.testing.assert_close(net.membership(X), twin.membership(X), **EXACT)


@pytest.mark.parametrize("shape", [(5,), (30,), (3, 6)])
def test_a_regression_with_weights_is_that_of_repeated_samples(shape):
    X = problem(*shape)
    for most in (100, 7):
        one = ExpansionRegression(eps_sq=0.2, most_samples=most)
        one.fit(X, LABELS, sample_weight=WEIGHTS, batch_size=4)
        twin = ExpansionRegression(eps_sq=0.2).fit(repeated(X), repeated(LABELS))
        torch.testing.assert_close(one(X), twin(X), **EXACT)


@pytest.mark.parametrize("channels", [3, 12])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_a_sample_is_left_out_with_its_whole_weight(shape, channels):
    spectrum, eps_sq = HalfSpectrum(shape), torch.tensor([0.01, 0.3], dtype=torch.float64)
    V = project_to_sphere(spectrum(samples(17, channels, *shape)))
    labels, pi = torch.arange(17) % 3, samples(17, seed=4).exp()
    partition = Partition.from_labels(labels, 17).weighted(pi)
    table = held_out_residuals(V, partition, spectrum.weights, eps_sq)
    for i in range(17):
        for j in range(3):
            others = (labels == j) & (torch.arange(17) != i)
            W = V[:, others] * pi[others].sqrt()[:, None]
            a = channels / (pi[labels == j].sum() * eps_sq[:, None]) / spectrum.weights  # (e, F)
            matrix = torch.eye(channels) + a[..., None, None] * (W.mT @ W.conj())
            left = torch.linalg.solve(matrix, V[:, i, :, None].expand(2, -1, -1, -1))
            expected = left.abs().square().sum((1, 2, 3)).sqrt()
            torch.testing.assert_close(table[:, i, j], expected, rtol=1e-8, atol=1e-10)


def test_losses_and_accuracies_are_weighted():
    table, targets = samples(20, 3), torch.arange(20) % 3
    weights = torch.from_numpy(np.arange(20) % 4 + 1.0)
    sizes = torch.bincount(targets)
    verdict = Judge(targets, sizes, weights).verdict(table)
    every = torch.arange(20).repeat_interleave(weights.long())
    losses = torch.nn.functional.cross_entropy(
        -verdict.sharpness * table[every], targets[every], reduction="none"
    )
    assert verdict.loss == pytest.approx(losses.mean().item(), rel=1e-12)
    right = (table.argmin(1) == targets)[every]
    assert verdict.accuracy == pytest.approx(right.double().mean().item(), rel=1e-12)
    scaled = Judge(targets, sizes, 1e-3 * weights).verdict(table)
    assert scaled[:4] == pytest.approx(verdict[:4], rel=1e-9)  # their unit does not matter
    # The effective number of samples of equal weights is their number.
    equal = calibrate(table[None], targets, torch.full((20,), 7.0))
    torch.testing.assert_close(equal.sharpness, calibrate(table[None], targets).sharpness)


def small(**options):
    return Search([None], bands=[None], reader=ExpansionRegression(), **options)


def test_files_keep_weighted_networks(tmp_path):
    X, path = problem(30), tmp_path / "net.safetensors"
    net = ReduNet.construct(X, LABELS, lift=small(class_weight={0: 5.0}))
    for samples_too in (None, (X, LABELS)):
        net.save(path, samples=samples_too)
        torch.testing.assert_close(ReduNet.load(path).membership(X), net.membership(X))
    weighted = ReduNet.construct(X, LABELS, num_layers=1, sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="samples"):
        weighted.save(path, samples=(X, LABELS))


def test_a_search_weighs_classes_and_leaves_out_what_has_no_weight():
    X = problem(4, m=60)
    labels = np.where(np.arange(60) < 40, "many", np.where(np.arange(60) < 52, "some", "few"))
    factors = {"many": 0.5, "some": 5 / 3, "few": 2.5}
    by_class = np.array([factors[label] for label in labels])
    searches = [
        small(class_weight="balanced").fit(X, labels),
        small(class_weight=factors).fit(X, labels),
        small().fit(X, labels, sample_weight=by_class),  # residuals treat all classes alike
        small(class_weight=factors).fit(X, labels, sample_weight=np.full(60, 3)),
        small(class_weight="balanced").fit(
            torch.cat([X, X[:2]]), np.r_[labels, labels[-2:]], sample_weight=[1] * 60 + [0] * 2
        ),
        small(class_weight="balanced").fit(
            TensorDataset(X, torch.from_numpy(np.searchsorted(["few", "many", "some"], labels))),
            batch_size=7,
        ),
    ]
    for search in searches[1:]:
        assert search.best_.eps_sq == searches[0].best_.eps_sq
        torch.testing.assert_close(
            search.reader_.held_out_, searches[0].reader_.held_out_, rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(
            search.best_.residuals, searches[0].best_.residuals, rtol=1e-9, atol=1e-9
        )
        assert search.sharpness_ == pytest.approx(searches[0].sharpness_, rel=1e-6)
    logits = searches[0].reader_.sharpness * searches[0].reader_.held_out_
    nearest = (searches[0].sharpness_ * searches[0].best_.residuals - logits).argmin(1).numpy()
    recalls = [(nearest[labels == c] == j).mean() for j, c in enumerate(["few", "many", "some"])]
    assert searches[0].accuracy_ == pytest.approx(np.mean(recalls))  # the balanced accuracy


def test_a_subset_has_the_weights_of_all_samples():
    X, weights = problem(4, m=90), np.arange(90) % 5 + 1
    labels = np.arange(90) % 3
    part = small(most_samples=40).fit(X, labels, sample_weight=weights, batch_size=7)
    whole = small(eps_sq=part.best_.eps_sq).fit(X, labels, sample_weight=weights)
    distances = torch.cdist(part.best_.residuals, whole.best_.residuals)
    assert distances.amin(1).max() < 1e-7  # cdist takes roots of rounding


def test_rare_classes_are_found_with_balanced_weights():
    X, labels = samples(330, 4), np.where(np.arange(330) < 300, "no", "yes")
    X[300:] += 0.4
    with pytest.warns(ReduNetWarning, match="is put in the class 'no': pass class_weight=\"bal"):
        model = ReduNetClassifier(lift=small()).fit(X, labels)
    assert set(model.predict(X)) == {"no"}
    fair = ReduNetClassifier(lift=small(class_weight="balanced")).fit(X, labels)
    assert balanced_accuracy_score(labels, fair.predict(X)) > 0.6


def test_weights_of_classes_are_priors():
    X, labels = problem(4, m=60), np.arange(60) % 3
    net = ReduNet.construct(X, labels, lift=small(class_weight={0: 1e6, 1: 1e-6, 2: 1e-6}))
    assert (net.predict(X) == 0).all()
    search = small(class_weight={0: 2.0})
    net = ReduNet.construct(X, labels, lift=search)
    alone = ExpansionRegression().fit(X, labels, sample_weight=np.where(labels, 1, 2))
    factor = search.reader_.sharpness_ / alone.sharpness_
    prior = torch.tensor([2, 1, 1]).double().mul(3 / 4).log()
    expected = factor * (alone.sharpness * alone(X) + prior)
    expected -= search.sharpness_ * net.relative_residuals(X)
    torch.testing.assert_close(net.membership(X), expected.softmax(1))
    assert (net.predict(X) == 0).sum() > (
        ReduNet.construct(X, labels, lift=small()).predict(X) == 0
    ).sum()


def test_weights_of_a_classifier_are_those_of_its_network():
    X = problem(5).numpy()
    search = Search([None], bands=[None], eps_sq=0.2)
    model = ReduNetClassifier(lift=search).fit(X, LABELS, sample_weight=WEIGHTS)
    twin = ReduNetClassifier(lift=search).fit(repeated(X), repeated(LABELS))
    np.testing.assert_allclose(model.decision_function(X), twin.decision_function(X), rtol=1e-10)
    assert (model.transduction_ == LABELS).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(17), r"sample_weight must have shape \(18,\), got \(17,\)"),
        (-np.ones(18), "must be finite, at least 0, and not zero for all .* from -1 to -1"),
        (np.zeros(18), "not zero for all samples; got weights from 0 to 0"),
        (np.where(LABELS, 0, 1), "at least two classes are needed, got 1 class"),
    ],
)
def test_weights_that_do_not_fit(weights, message):
    X = problem(5)
    for fit in (ReduNet.construct, Search([None]).fit, ReduNetClassifier().fit):
        with pytest.raises(ValueError, match=message):
            fit(X, LABELS, sample_weight=weights)


def test_weights_that_cannot_be_taken():
    X = problem(5)
    with pytest.raises(ValueError, match=r"Search\(class_weight=\) weighs the samples of"):
        Search().fit(TensorDataset(X, torch.from_numpy(LABELS)), sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="sample_weight needs the labels of all samples"):
        ReduNet.construct(X, LABELS, unknown=0, sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="weights of classes must be positive"):
        Search([None], class_weight={0: 0.0}).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"'class_weight' parameter .* must be"):
        Search([None], class_weight="equal").fit(X, LABELS)
    with pytest.raises(ValueError, match=r"pass it to Search\(class_weight=\)"):
        ReduNetClassifier(lift=Search(), class_weight="balanced").fit(X, LABELS)
