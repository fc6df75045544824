"""Values that are not finite are refused, and samples of any length are taken."""

import copy
import math

import numpy as np
import pytest
import torch

from redunet import (
    NearestSubspaceClassifier,
    ReduNet,
    ReduNetClassifier,
    coding_rate,
    explain,
    export,
    finetune,
    rate_reduction,
)
from tests.small import LABELS, X, construct


def with_bad_values():
    bad = X.clone()
    bad[2, 1, 3] = math.nan
    bad[5, 0, 0] = math.inf
    return bad


NOT_FINITE = (
    r"must be finite: 2 of 80 values are not, in 2 of 8 samples; "
    r"the first is nan in sample 2 at index \(1, 3\)"
)


def test_values_that_are_not_finite():
    for run in (
        lambda bad: construct(bad),
        lambda bad: construct(validation=(bad, LABELS)),
        lambda bad: coding_rate(bad, 0.1),
        lambda bad: rate_reduction(bad, LABELS, 0.1),
    ):
        with pytest.raises(ValueError, match=NOT_FINITE):
            run(with_bad_values())


def test_samples_of_zero_norm_stay_zero_with_one_warning():
    zeros = X.clone()
    zeros[[1, 4]] = 0
    with pytest.warns(UserWarning, match="zero norm") as caught:
        net = ReduNet.construct(zeros, LABELS, num_layers=3)
    (found,) = (warning for warning in caught if "zero norm" in str(warning.message))
    assert str(found.message) == "2 of 8 samples have zero norm and stay zero"
    assert found.filename == __file__
    assert (net(zeros)[[1, 4]] == 0).all()
    assert torch.isfinite(net(zeros)).all()


def networks():
    """Everything that takes samples after its construction."""
    images = torch.randn(8, 4, 5, generator=torch.Generator().manual_seed(0))
    net = ReduNet.construct(images, LABELS, num_layers=2)
    tuned = finetune(net, images, LABELS, epochs=1, validation=None)
    rows = images.flatten(1).numpy()
    estimators = (
        ReduNetClassifier(1).fit(rows, LABELS).predict,
        NearestSubspaceClassifier(1).fit(rows, LABELS).predict,
    )
    ways = (net, net.membership, net.predict, net.residual_norms)
    traced = (lambda X: list(net.trajectory(X)), tuned, tuned.predict)
    return [(images, way) for way in (*ways, *traced)] + [(rows, way) for way in estimators]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_finite_are_refused_in_use_too(value):
    for samples, way in networks():
        bad = copy.deepcopy(samples)
        bad.reshape(-1)[-1] = value
        with pytest.raises(ValueError, match=r"finite|NaN|infinity"):
            way(bad)


def test_one_sample_that_is_not_finite_is_not_explained():
    net = ReduNet.construct(X, LABELS, num_layers=1)
    with pytest.raises(ValueError, match="X must be finite: 2 of 10"):
        explain(net, torch.where(torch.arange(5) == 3, math.nan, X[0]))


def test_exported_graphs_do_not_look_at_values(tmp_path):
    net = ReduNet.construct(X, LABELS, num_layers=1)
    export(net, tmp_path / "net.pt2")
    graph = torch.export.load(tmp_path / "net.pt2").module()
    assert graph(torch.full_like(X.float(), math.nan))[0].isnan().all()


@pytest.mark.parametrize("length", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("shape", [(6,), (4, 5), (4, 3, 4)])
def test_samples_of_any_length_have_the_same_features(shape, length):
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(8, *shape, generator=generator)
    net = ReduNet.construct(samples, LABELS, num_layers=3)
    scaled = samples * length
    torch.testing.assert_close(net(scaled), net(samples), rtol=0, atol=1e-5)
    twin = ReduNet.construct(scaled, LABELS, num_layers=3)
    torch.testing.assert_close(twin(samples), net(samples), rtol=0, atol=1e-5)
    np.testing.assert_allclose(twin.history.delta, net.history.delta, rtol=1e-4)


@pytest.mark.parametrize("length", [1e-300, 1e300])
def test_samples_of_any_length_in_double_precision(length):
    samples = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = ReduNet.construct(samples, LABELS, num_layers=2)
    torch.testing.assert_close(net(samples * length), net(samples), rtol=0, atol=1e-12)


def test_a_sample_of_small_length_is_not_lost_in_a_large_batch():
    samples = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    net = ReduNet.construct(samples, LABELS, num_layers=1)
    lengths = torch.tensor([1e-30, 1, 1e30, 1e-20, 1, 1e20, 1e-38, 1])[:, None]
    torch.testing.assert_close(net(samples * lengths), net(samples), rtol=0, atol=1e-5)
