"""Settings that are NumPy or torch scalars, in everything that takes numbers."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from redunet import (
    Band,
    LossyCodingClustering,
    MCR2Loss,
    MICLClassifier,
    MultiScaleLift,
    NearestSubspaceClassifier,
    PCALift,
    RandomCirculantLift,
    RateReductionMeter,
    ReduNet,
    ReduNetClassifier,
    ScatteringLift,
    Search,
    SharedDictionary,
    ShortTimeFourierLift,
    Standardize,
    VariationalMCR2Loss,
    coding_length,
    coding_rate,
    datasets,
    finetune,
    polar_samples,
    rate_reduction,
)
from redunet.layers import Rectified, Softmax, Variational
from redunet.rates import pairwise_rate_reduction
from redunet.training import ReduConvLayer

RNG = np.random.default_rng(0)
Y = np.arange(24) % 2
X = RNG.normal(size=(24, 5)) + 3 * Y[:, None]
IMAGES = torch.from_numpy(RNG.normal(size=(4, 1, 8, 8)))

# What a number may be. Each is exact for the values below.
NUMBERS = {
    "numpy": lambda value: np.float32(value) if isinstance(value, float) else np.int64(value),
    "small numpy": lambda value: np.float16(value) if isinstance(value, float) else np.uint8(value),
    "array": np.array,
    "tensor": torch.tensor,
}
FLAGS = {"numpy": np.bool_, "array": np.array, "tensor": torch.tensor}

# Everything that keeps its settings, with settings that are not the default ones.
KEEPING = [
    (Band, {"frequencies": 2}),
    (MultiScaleLift, {"in_channels": 2, "ndim": 1, "kernels_per_scale": 3, "kernel_size": 5,
                      "differences": True, "seed": 4}),
    (RandomCirculantLift, {"in_channels": 1, "out_channels": 4, "kernel_size": 3, "ndim": 1,
                           "seed": 5, "threshold": 0.5}),
    (PCALift, {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "ndim": 1,
               "threshold": 0.5}),
    (ScatteringLift, {"shape": 64, "J": 2, "L": 4, "max_order": 1, "phases": 4}),
    (ShortTimeFourierLift, {"window_length": 6}),
    (Standardize, {"in_channels": 3, "constant": True}),
    (Softmax, {"lam": 4.0, "balanced": True}),
    (Rectified, {"lam": 4.0}),
    (Variational, {"rank": 3}),
    (SharedDictionary, {"atoms": 6, "mu": 0.5}),
    (MCR2Loss, {"eps_sq": 0.25, "gamma1": 2.0, "gamma2": 4.0}),
    (VariationalMCR2Loss, {"num_classes": 2, "dim": 3, "atoms_per_class": 2, "eps_sq": 0.25,
                           "mu": 2.0, "step_size": 4.0}),
    (RateReductionMeter, {"eps_sq": 0.25}),
    (Search, {"eps_sq": 0.25, "most_samples": 10, "seed": 3}),
    (ReduConvLayer, {"channels": 2, "num_classes": 3, "eta": 0.5, "lam": 2.0}),
]  # fmt: skip

# Everything that computes with its settings.
Z = torch.from_numpy(X)
COMPUTING = [
    (partial(coding_rate, Z), {"eps_sq": 0.25}),
    (lambda **options: rate_reduction(Z, Y, **options).delta, {"eps_sq": 0.25}),
    (partial(pairwise_rate_reduction, Z, Y), {"eps_sq": 0.25}),
    (partial(coding_length, Z), {"eps_sq": 0.25}),
    (partial(polar_samples, IMAGES), {"radii": 3, "angles": 8}),
    (lambda **options: datasets.gaussians(**options)[0],
     {"ndim": 2, "per_class": 3, "sigma": 0.5, "seed": 3}),
    (lambda **options: datasets.sinusoids(**options)[0],
     {"num_classes": 2, "per_class": 3, "length": 8, "channels": 2, "seed": 3}),
    (partial(datasets.subsample, Y), {"per_class": 2, "seed": 3}),
    (partial(datasets.corrupt_labels, Y), {"ratio": 0.5, "seed": 3}),
    (partial(datasets.all_shifts, IMAGES[:1]), {"stride": 4}),
    (partial(datasets.rotations, IMAGES[:1]), {"count": 3}),
]  # fmt: skip

# All options of the construction that are numbers, for each kind of operators.
CONSTRUCTIONS = [
    {"num_layers": 2, "eta": 0.5, "eps_sq": 0.25, "lam": 8.0, "tol": 0.125, "batch_size": 7},
    {"num_layers": 2, "momentum": 0.5, "true_membership": True, "offload": True},
    {"num_layers": 1, "operators": "variational", "rank": 2, "membership": "rectified", "lam": 4.0},
    {"num_layers": 1, "num_classes": 2},
    {"num_layers": 1, "lift": "auto", "unknown": 0},
]


def converted(settings, kind):
    """The same settings, with all numbers and flags of a kind."""
    flag = FLAGS.get(kind, np.bool_)
    kinds = {bool: flag, int: NUMBERS[kind], float: NUMBERS[kind]}
    return {name: kinds.get(type(value), lambda v: v)(value) for name, value in settings.items()}


def settings_of(instance, names):
    return {name: getattr(instance, name) for name in names}


def name_of(case):
    return getattr(case, "__name__", None) if callable(case) else ""


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize(("make", "settings"), KEEPING, ids=name_of)
def test_numbers_are_kept_as_python_numbers(make, settings, kind):
    names = settings.keys() & dir(make(**settings))
    expected = settings_of(make(**settings), names)
    found = settings_of(make(**converted(settings, kind)), names)
    assert found == expected
    assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in expected.items()}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize(("compute", "settings"), COMPUTING)
def test_numbers_of_functions(compute, settings, kind):
    found, expected = compute(**converted(settings, kind)), compute(**settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


CASES = [
    (make, settings, name)
    for make, settings in KEEPING + COMPUTING
    for name, value in settings.items()
]


@pytest.mark.parametrize(("make", "settings", "name"), CASES)
@pytest.mark.parametrize("wrong", [True, np.True_, torch.tensor(True), "1", [0.5, 0.5]])
def test_booleans_and_words_are_no_numbers(make, settings, name, wrong):
    if isinstance(settings[name], bool):
        wrong = {True: 1}.get(wrong, wrong) if isinstance(wrong, bool) else "yes"
    if isinstance(wrong, list) and name in ("radii", "shape"):
        wrong = "ab"
    with pytest.raises((TypeError, ValueError), match=name):
        make(**{**settings, name: wrong})


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("settings", CONSTRUCTIONS)
@pytest.mark.filterwarnings("ignore:.*samples, fewer than|.*may be meaningless")
def test_a_network_of_such_numbers_is_saved_and_loaded(settings, kind, tmp_path):
    labels = None if "num_classes" in settings else Y
    if "unknown" in settings:
        labels = np.where(np.arange(24) % 5 == 0, 0, Y + 1)
    expected = ReduNet.construct(X, labels, **settings)
    net = ReduNet.construct(X, labels, **converted(settings, kind))
    net.save(tmp_path / "net.safetensors")
    loaded = ReduNet.load(tmp_path / "net.safetensors")
    for each in (net, loaded):
        assert each.settings == expected.settings
        torch.testing.assert_close(each(X), expected(X), rtol=0, atol=0)
    assert (loaded.batch_size, type(loaded.batch_size)) == (
        expected.batch_size,
        type(expected.batch_size),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps_sq": True}, "eps_sq must be a number, got True"),
        ({"num_layers": True}, "num_layers must be an integer, got True"),
        ({"num_layers": 2.0}, r"num_layers must be an integer, got 2\.0"),
        ({"num_layers": np.float64(2)}, r"num_layers must be an integer, got 2\.0"),
        ({"momentum": "0.9"}, "momentum must be a number, got '0.9'"),
        ({"tol": "x"}, "tol must be a number, got 'x'"),
        ({"lam": "1"}, "lam must be a number, got '1'"),
        ({"eta": np.array([0.5])}, r"eta must be a number, got array\(\[0.5\]\)"),
        ({"eta": 1j}, "eta must be a number, got 1j"),
        ({"batch_size": np.bool_(True)}, "batch_size must be an integer, got True"),
        ({"offload": "no"}, "offload must be True or False, got 'no'"),
        ({"true_membership": 1}, "true_membership must be True or False, got 1"),
        ({"eps_sq": torch.tensor(-0.5)}, r"eps_sq must be a positive number, got -0\.5"),
        ({"eps_sq": np.float32("nan")}, "eps_sq must be a positive number, got nan"),
    ],
)
def test_what_is_no_number_is_refused_by_name(settings, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        ReduNet.construct(X, Y, **settings)


@pytest.mark.parametrize("kind", NUMBERS)
def test_sequences_of_numbers(kind):
    number = NUMBERS[kind]
    lift = RandomCirculantLift(1, 4, [number(3), number(5)], 2)
    assert lift.kernel_size == (3, 5)
    assert ScatteringLift([number(8), number(8)], 1).shape == (8, 8)
    assert MultiScaleLift(1, 1, dilations=[number(1), number(2)]).dilations == (1, 2)
    assert Search(bands=[number(2), None]).bands == [2, None]


def test_arrays_of_integers_are_sequences_of_numbers():
    assert RandomCirculantLift(1, 4, np.array([3, 5]), 2).kernel_size == (3, 5)
    assert MultiScaleLift(1, 1, dilations=2 ** np.arange(3)).dilations == (1, 2, 4)
    assert Search(bands=np.arange(3)).bands == [0, 1, 2]
    assert MultiScaleLift(1, 1, dilations=[]).dilations == ()


ESTIMATORS = [
    (ReduNetClassifier, {"num_layers": 1, "eps_sq": 0.25, "random_state": 3}),
    (ReduNetClassifier, {"operators": "variational", "rank": 2, "unknown": -1}),
    (NearestSubspaceClassifier, {"n_components": 2, "center": True}),
    (MICLClassifier, {"eps_sq": 0.25, "center": True}),
    (MICLClassifier, {"eps_sq": 0.25}),
    (LossyCodingClustering, {"eps_sq": 0.25}),
]


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
@pytest.mark.parametrize(("make", "settings"), ESTIMATORS)
def test_estimators_take_such_numbers_and_keep_them(make, settings, kind):
    given = converted(settings, kind)
    model = clone(make(**given))
    assert {name: type(model.get_params()[name]) for name in given} == {
        name: type(value) for name, value in given.items()
    }
    assert (
        (model.fit_predict(X) == make(**settings).fit_predict(X)).all()
        if hasattr(model, "fit_predict")
        else (model.fit(X, Y).predict(X) == make(**settings).fit(X, Y).predict(X)).all()
    )


@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (NearestSubspaceClassifier(center=True), {"n_components": np.arange(1, 3)}),
        (MICLClassifier(), {"eps_sq": np.geomspace(0.1, 1, 2)}),
        (ReduNetClassifier(lift=None), {"num_layers": np.arange(1, 3)}),
        (
            ReduNetClassifier(lift=None, operators="variational"),
            {"rank": np.arange(1, 3), "eps_sq": np.array([0.5], dtype=np.float32)},
        ),
    ],
)
def test_a_grid_of_numpy_numbers(model, grid, tmp_path):
    best = GridSearchCV(model, grid, cv=2).fit(X, Y).best_estimator_
    assert best.score(X, Y) > 0.9
    if isinstance(best, ReduNetClassifier):
        best.net_.save(tmp_path / "net.safetensors")
        found = ReduNet.load(tmp_path / "net.safetensors").settings
        assert found == best.net_.settings


@pytest.mark.filterwarnings("ignore::redunet.ReduNetWarning")
@pytest.mark.parametrize("kind", NUMBERS)
def test_trainings_take_such_numbers(kind):
    net = ReduNet.construct(X, Y, num_layers=1)
    settings = {"epochs": 1, "lr": 0.0625, "batch_size": 8}
    settings |= {"seed": 3, "patience": 2, "validation": 0.25}
    tuned = [finetune(net, X, Y, **s) for s in (settings, converted(settings, kind))]
    torch.testing.assert_close(tuned[1].state_dict(), tuned[0].state_dict(), rtol=0, atol=0)
    for name in ("epochs", "lr", "batch_size", "validation"):
        with pytest.raises(TypeError, match=f"{name} must be"):
            finetune(net, X, Y, **{name: True})


def test_the_sharpness_may_be_infinite():
    assert Softmax(np.float32("inf")).lam == math.inf
    assert Softmax(torch.tensor(math.inf)) == Softmax(math.inf)
