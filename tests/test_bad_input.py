"""Every mistake gets an error that says what was expected and what was got."""

import copy
import math

import numpy as np
import pytest
import scipy.sparse
import torch

from redunet import (
    Exact,
    NearestSubspaceClassifier,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    Softmax,
    coding_rate,
    explain,
    export,
    finetune,
    rate_reduction,
)
from redunet._checks import as_samples, check_count, memory_advice

X = torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(0))
LABELS = [0, 1] * 4


def construct(X=X, labels=LABELS, **options):
    return ReduNet.construct(X, labels, **{"num_layers": 1, **options})


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 8, r"at least two classes are needed, got 1 class: \[0\]"),
        ([0, 1, 0], r"labels must have shape \(8,\).* got \(3,\) for 8 samples"),
        (np.zeros((8, 2, 2)), r"got \(8, 2, 2\) for 8 samples"),
        (np.full((8, 1), 1.0), "at least two classes are needed, got memberships in 1"),
        (np.tile([1.0, 0.0], (8, 1)), r"every class needs samples: classes \[1\] have none"),
        (np.tile([1.5, -0.5], (8, 1)), "must be at least 0: 8 are not, the smallest is -0.5"),
        (np.tile([math.nan, 1.0], (8, 1)), "must be at least 0: 8 are not, the smallest is nan"),
        (
            np.tile([0.5, 0.25], (8, 1)),
            "must sum to one: those of 8 of 8 samples do not, the first is sample 0 with a sum of "
            "0.75",
        ),
        (np.linspace(0, 1, 8), "Unknown label type: continuous"),
    ],
)
def test_labels(labels, message):
    for run in (construct, lambda labels: rate_reduction(X, labels, 0.1)):
        with pytest.raises(ValueError, match=message):
            run(labels=labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps_sq": 0.0}, "eps_sq must be a positive number, got 0.0"),
        ({"eps_sq": math.nan}, "eps_sq must be a positive number, got nan"),
        ({"eta": -1.0}, "eta must be a positive number, got -1.0"),
        ({"lam": 0.0}, "lam must be positive .*, got 0.0"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"tol": 1.5}, r"tol must be None or in \[0, 1\), got 1.5"),
        (
            {"operators": "fast"},
            r"operators must be one of \['block diagonal', 'exact', 'extensible', "
            r"'shared dictionary', 'variational'\]",
        ),
        ({"operators": "variational"}, "operators='variational' needs the option rank"),
        ({"operators": "variational", "rank": 0}, "rank must be at least 1, got 0"),
        (
            {"operators": "variational", "rank": 3},
            "rank must be at most the number of channels, 2, got 3",
        ),
        ({"rank": 2}, "operators='exact' has no option rank"),
        ({"operators": Exact(), "rank": 2}, "rank is an option of the operators: pass it to Exact"),
        (
            {"membership": Softmax(5), "lam": 2},
            "lam is an option of the membership: pass it to",
        ),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0.1"),
        ({"membership": "max"}, r"membership must be one of \['rectified', 'softmax'\] or an inst"),
    ],
)
def test_settings(options, message):
    with pytest.raises(ValueError, match=message):
        construct(**options)


def test_counts_are_integers():
    with pytest.raises(TypeError, match=r"num_layers must be an integer, got 2\.0"):
        construct(num_layers=2.0)
    with pytest.raises(TypeError, match="size must be an integer, got True"):
        check_count(size=True)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (torch.zeros(3), ValueError, r"X must have shape \(m, n\), .* got \(3,\)"),
        (torch.zeros(0, 4), ValueError, r"X has no values: got shape \(0, 4\)"),
        (
            torch.zeros(2, 3, dtype=torch.complex64),
            TypeError,
            "X must be real, got torch.complex64",
        ),
    ],
)
def test_samples_of_the_wrong_kind(samples, error, message):
    with pytest.raises(error, match=message):
        construct(samples, [0, 1])


def test_rates_need_a_positive_precision():
    for run in (lambda e: coding_rate(X, e), lambda e: rate_reduction(X, LABELS, e)):
        with pytest.raises(ValueError, match=r"eps_sq must be a positive number, got -0\.1"):
            run(-0.1)


def test_samples_of_another_shape_than_the_constructions():
    net = construct()
    for run in (net, net.membership, net.predict):
        with pytest.raises(
            ValueError, match=r"expected samples of shape \(2, 5\), .* got X of shape \(3, 2, 6\)"
        ):
            run(torch.zeros(3, 2, 6))
    with pytest.raises(ValueError, match=r"X has no samples: got shape \(0, 2, 5\)"):
        net(X[:0])
    with pytest.raises(ValueError, match=r"expected samples of shape \(2, 5\)"):
        construct(validation=(torch.zeros(2, 3, 5), [0, 1]))
    with pytest.raises(ValueError, match=r"labels \[9\] are not among \[0, 1\]"):
        construct(validation=(X, [9] * 8))


def test_samples_of_zero_norm_stay_zero_with_one_warning():
    zeros = X.clone()
    zeros[[1, 4]] = 0
    with pytest.warns(UserWarning, match="zero norm") as caught:
        net = construct(zeros, num_layers=3)
    (found,) = (warning for warning in caught if "zero norm" in str(warning.message))
    assert str(found.message) == "2 of 8 samples have zero norm and stay zero"
    assert found.filename == __file__
    assert (net(zeros)[[1, 4]] == 0).all()
    assert torch.isfinite(net(zeros)).all()


def test_a_step_that_overshoots_is_warned_about():
    few = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="eta=0.08 or less is safe") as found:
        construct(few, [0, 0, 1, 1], eta=0.5, eps_sq=0.2)  # ηα = 12.5
    assert found[0].filename == __file__
    construct(few, [0, 0, 1, 1], eta=0.08, eps_sq=0.2)
    construct(few.T, [0, 1] * 10, eta=50.0, eps_sq=0.2)  # more samples than channels


class Hungry(torch.nn.Module):
    """A lift that needs far more memory than there is for more than one sample."""

    def forward(self, X):
        if len(X) > 1:
            torch.empty(2**55, dtype=torch.float32)
        return X


def test_out_of_memory_says_which_batch_size_to_try():
    with pytest.raises(MemoryError, match="with 8 samples at a time: try batch_size=4"):
        construct(lift=Hungry(), batch_size=8)
    construct(lift=Hungry(), batch_size=1)


def test_out_of_memory_on_a_gpu_and_other_errors():
    with pytest.raises(MemoryError, match="try batch_size=32"), memory_advice(64):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(MemoryError, match="use fewer channels"), memory_advice(1):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="something else"), memory_advice(1):
        raise RuntimeError("something else")


def test_arrays_that_may_not_be_written_are_copied_without_a_warning():
    array = np.ones((2, 3))
    array.flags.writeable = False
    assert as_samples(array).dtype == torch.float64
    assert as_samples(np.ones((2, 3), dtype=np.uint8)).dtype == torch.float32


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
    ways = (net, net.membership, net.predict, net.residual_norms, net.residual_norms_by_layer)
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


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a[::-1][::-1], id="negative strides twice"),
        pytest.param(lambda a: np.flip(np.flip(a, 1).copy(), 1), id="negative strides"),
        pytest.param(lambda a: a.astype(">f4"), id="big-endian"),
        pytest.param(lambda a: a.astype("<f4"), id="little-endian"),
        pytest.param(lambda a: np.asfortranarray(a), id="Fortran order"),
        pytest.param(lambda a: np.repeat(a, 2, 0)[::2], id="not contiguous"),
        pytest.param(lambda a: a.tolist(), id="lists"),
    ],
)
def test_arrays_in_any_layout(change):
    array = np.random.default_rng(0).normal(size=(8, 4, 5)).astype(np.float32)
    net = ReduNet.construct(array, LABELS, num_layers=2)
    changed = change(array)
    torch.testing.assert_close(net(changed), net(array))
    twin = ReduNet.construct(changed, LABELS, num_layers=2)
    torch.testing.assert_close(twin(array), net(array), check_dtype=False)
    labels = np.asarray(LABELS).astype(">i8")[::-1][::-1]
    torch.testing.assert_close(ReduNet.construct(array, labels, num_layers=2)(array), net(array))


def test_read_only_arrays():
    array = np.random.default_rng(0).normal(size=(8, 4))
    array.flags.writeable = False
    net = ReduNet.construct(array, LABELS, num_layers=1)
    assert net(array).shape == (8, 4)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.coo_array])
def test_sparse_matrices_get_an_error_that_says_so(make):
    array = np.random.default_rng(0).normal(size=(8, 4))
    net = ReduNet.construct(array, LABELS, num_layers=1)
    message = "expected a dense array, got a sparse"
    for way in (net, net.predict, lambda a: ReduNet.construct(a, LABELS)):
        with pytest.raises(TypeError, match=message):
            way(make(array))
    with pytest.raises(TypeError, match="expected a dense tensor, got one of layout"):
        net(torch.from_numpy(array).to_sparse())


def test_arrays_of_objects():
    array = np.random.default_rng(0).normal(size=(8, 4))
    net = construct(array)
    torch.testing.assert_close(net(array.astype(object)), net(array))
    frame = pytest.importorskip("pandas").DataFrame(array).convert_dtypes()
    torch.testing.assert_close(construct(frame)(frame), net(array))
    with pytest.raises(TypeError, match=r"expected an array of numbers, got one of objects: .*red"):
        net(np.array([[1.0, 2.0, 3.0, "red"]], dtype=object))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eps_sq": "auto"}, TypeError, "eps_sq must be a number, got 'auto'"),
        (
            {"lift": RandomCirculantLift},
            TypeError,
            "a lift must be a torch module",
        ),
        (
            {"lift": "random"},
            ValueError,
            "lift must be \"auto\", a torch module or a list of them, got 'random'",
        ),
        ({"labels": np.zeros((8, 1))}, ValueError, r"pass labels\.ravel\(\) if these are labels"),
        (
            {"lift": RandomCirculantLift(3, 4, 3, ndim=1)},
            ValueError,
            r"in_channels=3 and samples of shape \(m, 3, T\), got a batch of shape \(1, 2, 5\)",
        ),
    ],
)
def test_other_mistakes(options, error, message):
    with pytest.raises(error, match=message):
        construct(**options)


def test_folders_that_do_not_exist(tmp_path):
    net = construct()
    with pytest.raises(FileNotFoundError, match=f"no such folder: {tmp_path / 'none'}"):
        net.save(tmp_path / "none" / "net.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        ReduNet.load(tmp_path)
