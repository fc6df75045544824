"""Samples whose axes were probably meant otherwise get a warning, or an error that says so."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from redunet import (
    MICLClassifier,
    NearestSubspaceClassifier,
    ReduNet,
    ReduNetClassifier,
    ReduNetWarning,
    Search,
    datasets,
    explain,
)
from redunet._shapes import check_layout, roughness


def waves(shape, noise=0.3):
    """Series ``(m, C, T)`` that are smooth in time, with channels of their own."""
    rng = np.random.default_rng(0)
    m, channels, length = shape
    times = np.arange(length) / max(length, 8)
    frequencies, phases = rng.uniform(1, 3, (m, channels, 1)), rng.uniform(0, 7, (m, channels, 1))
    X = np.sin(2 * np.pi * frequencies * times + phases) + rng.normal(size=(1, channels, 1))
    return torch.from_numpy(X + noise * rng.normal(size=shape))


def pictures(*shape):
    """Smooth images or volumes ``(m, C, *spatial)``, whose channels are alike."""
    X = np.random.default_rng(0).normal(size=(shape[0], 1, *shape[2:]))
    for axis in range(2, X.ndim):
        X = X.cumsum(axis)
    return torch.from_numpy(X + np.arange(shape[1]).reshape(1, -1, *[1] * len(shape[2:])))


def noise(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (waves((20, 6, 100)).transpose(1, 2), r"series of 100 channels and 6 values.*0, 2, 1"),
        (waves((20, 6, 100), noise=2).transpose(1, 2), "if the 6 channels come last"),
        (waves((20, 12, 29)).transpose(1, 2), "if the 12 channels come last"),
        (waves((20, 1, 24)).transpose(1, 2), "if the 1 channels come last"),
        (waves((20, 3, 64)).transpose(1, 2).float(), "if the 3 channels come last"),
        (waves((1, 3, 64)).transpose(1, 2), "if the 3 channels come last"),
        (noise(20, 100, 3), "series of 100 channels and 3 values"),
        (torch.zeros(20, 100, 3), "series of 100 channels and 3 values"),
        (pictures(20, 3, 32, 32).movedim(1, -1), r"images of 32 channels.*0, 3, 1, 2"),
        (pictures(20, 1, 8, 8).movedim(1, -1), "if the 1 channels come last"),
        (pictures(20, 4, 24, 32).movedim(1, -1), "if the 4 channels come last"),
        (pictures(5, 1, 9, 9, 9).movedim(1, -1), r"images of 9 channels.*0, 4, 1, 2, 3"),
        (pictures(20, 1, 12, 12)[:, 0], r"grey images, .*, X\[:, None\]"),
        (pictures(20, 1, 28, 28)[:, 0], r"series of 28 channels: if these are grey images"),
    ],
)
def test_what_seems_transposed(X, message):
    with pytest.warns(ReduNetWarning, match=message):
        check_layout(X)


@pytest.mark.parametrize(
    "X",
    [
        *(waves((20, C, T)) for C, T in ((1, 100), (3, 4), (6, 100), (12, 29), (2, 8), (8, 2))),
        *(waves((20, C, T)) for C, T in ((12, 12), (64, 64), (20, 16), (64, 20), (32, 16), (7, 1))),
        *(noise(20, C, T) for C, T in ((3, 4), (4, 3), (16, 4), (32, 8), (28, 28), (1, 1), (5, 1))),
        *(pictures(8, C, 32, 32) for C in (1, 3, 4, 16)),
        *(
            noise(8, *shape)
            for shape in ((16, 8, 8), (64, 4, 4), (32, 3, 3), (128, 2, 2), (8, 5, 1))
        ),
        *(noise(8, *shape) for shape in ((1, 9, 9, 9), (3, 8, 8, 2), (7, 7, 7, 3), (64, 1, 1, 1))),
        *(noise(20, n) for n in (1, 3, 100)),
        torch.ones(20, 5, 5),
        torch.from_numpy(load_digits().images),  # small enough for series of eight channels
    ],
    ids=lambda X: "x".join(map(str, X.shape)),
)
def test_ordinary_samples_get_no_warning(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_layout(X)


def test_roughness_is_one_for_noise():
    X = noise(200, 30, 40)
    assert roughness(X, 1) == pytest.approx(1, abs=0.03)
    assert roughness(X, 2) == pytest.approx(1, abs=0.03)
    line = torch.arange(10.0).expand(3, 4, 10)
    assert roughness(line, 2) == pytest.approx(1 / (2 * 55 / 6), rel=1e-12)


X, LABELS = waves((24, 2, 40)).transpose(1, 2), np.arange(24) % 2


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda: ReduNet.construct(X, LABELS, num_layers=1), id="construct"),
        pytest.param(lambda: ReduNet.construct(X.numpy(), LABELS, num_layers=1), id="numpy"),
        pytest.param(lambda: ReduNet.construct(list(X), LABELS, num_layers=1), id="list"),
        pytest.param(lambda: ReduNet.construct(X, LABELS, lift="auto"), id="auto"),
        pytest.param(
            lambda: ReduNet.construct(TensorDataset(X, torch.from_numpy(LABELS)), num_layers=1),
            id="data set",
        ),
        pytest.param(lambda: ReduNetClassifier(lift=None).fit(X, LABELS), id="classifier"),
        pytest.param(lambda: Search([None], bands=[0]).fit(X, LABELS), id="search"),
        pytest.param(lambda: MICLClassifier(shift_invariant=True).fit(X, LABELS), id="MICL"),
        pytest.param(
            lambda: NearestSubspaceClassifier(1, shift_invariant=True).fit(X, LABELS),
            id="nearest subspace",
        ),
    ],
)
def test_samples_are_looked_at_where_they_come_in(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    found = [one for one in caught if "2 channels come last" in str(one.message)]
    assert found
    assert {one.filename for one in found} == {__file__}


def unequal(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


def objects(samples):
    array = np.empty(len(samples), object)
    array[:] = samples
    return array


ADVICE = r"datasets\.pad_series\(X\); bring images to one size"
TRANSPOSED = r"channels come last, pass datasets\.pad_series\(\[series\.T for series in X\]\)"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (unequal((12, 7), (12, 9), (12, 7)), ADVICE),
        (unequal((7,), (9,)), ADVICE),
        ([[1.0, 2.0], [3.0]], ADVICE),
        (unequal((7, 12), (9, 12)), ADVICE),
        (unequal((3, 8, 8), (3, 9, 8)), ADVICE),
        (unequal((8, 8, 3), (9, 8, 3)), ADVICE),
        (unequal((8, 7), (9, 8)), r"got \(8, 7\) and \(9, 8\)"),
        (unequal((4,), (2, 4)), r"got \(4,\) and \(2, 4\)"),
    ],
)
@pytest.mark.parametrize("kind", [list, tuple, objects, lambda A: [torch.tensor(a) for a in A]])
def test_samples_of_different_shapes(samples, message, kind):
    X, labels = kind(samples), np.arange(len(samples)) % 2
    net = ReduNet.construct(noise(8, 4), np.arange(8) % 2, num_layers=1)
    is_nested = isinstance(samples[0], list) and kind in (list, tuple)
    runs = [lambda: ReduNet.construct(X, labels), lambda: net(X), lambda: net.predict(X)]
    if not is_nested:  # scikit-learn has its own error
        runs += [
            lambda: ReduNetClassifier().fit(X, labels),
            lambda: MICLClassifier().fit(X, labels),
        ]
    for run in runs:
        with pytest.raises(ValueError, match=message):
            run()


def test_series_whose_channels_come_last_cannot_be_padded():
    with pytest.raises(ValueError, match=TRANSPOSED):
        datasets.pad_series(unequal((7, 12), (9, 12)))
    assert datasets.pad_series(unequal((12, 7), (12, 9))).shape == (2, 12, 9)


@pytest.fixture(scope="module")
def net():
    return ReduNet.construct(waves((24, 2, 12)), LABELS, num_layers=1)


@pytest.mark.parametrize(
    ("shape", "given", "advice"),
    [
        ((2, 12), (2, 12), r"pass X\[None\] if this is one sample"),
        ((2, 12), (5, 12, 2), r"channels come first, X\.transpose\(0, 2, 1\)"),
        ((2, 12), (5, 24), r"pass X\.reshape\(len\(X\), 2, 12\)"),
        ((1, 12), (5, 12), r"an axis for their channel, X\[:, None\]"),
        ((1, 6, 6), (6, 6), r"got X of shape \(6, 6\)"),
        ((1, 6, 6), (1, 6, 6), r"pass X\[None\]"),
        ((1, 6, 6), (5, 6, 6), r"X\[:, None\]"),
        ((3, 6, 6), (5, 6, 6, 3), r"X\.transpose\(0, 3, 1, 2\), or X\.movedim\(-1, 1\)"),
        ((4,), (4,), r"pass X\[None\]"),
        ((4,), (5, 2, 2), r"pass X\.reshape\(len\(X\), 4\)"),
    ],
)
def test_new_samples_of_another_shape(shape, given, advice):
    X = noise(8, *shape)
    net = ReduNet.construct(X, np.arange(8) % 2, num_layers=1)
    for run in (net, net.predict, net.membership, net.samples):
        for new in (noise(*given), noise(*given).numpy()):
            with pytest.raises(
                ValueError, match=rf"(expected samples of|must have) shape .*{advice}"
            ):
                run(new)


def test_one_sample_without_its_first_axis(net):
    sample = waves((24, 2, 12))[0]
    model = ReduNetClassifier(lift=None).fit(waves((24, 2, 12)), LABELS)
    for run in (net, net.predict, model.predict, model.predict_proba, model.transform):
        with pytest.raises(ValueError, match=r"pass X\[None\] if this is one sample"):
            run(sample)
        run(sample[None])
    with pytest.raises(ValueError, match=r"channels come first, X\.transpose\(0, 2, 1\)"):
        model.predict(waves((5, 2, 12)).transpose(1, 2))
    with pytest.raises(ValueError, match=r"pass X\[None\] if this is one sample"):
        ReduNet.construct(noise(4), [0, 1, 0, 1])
    assert explain(net, sample).prediction in (0, 1)


def test_texts_in_frames_are_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"mass": [1.0, 2, 3, 4], "island": ["a", "b", "c", "d"]})
    with pytest.raises(TypeError, match=r"got one of objects in the columns 'island'"):
        ReduNet.construct(frame, [0, 1, 0, 1])
