"""Every mistake gets an error that says what was expected and what was got."""

import math

import numpy as np
import pytest
import torch

from redunet import (
    Exact,
    RandomCirculantLift,
    ReduNet,
    ReduNetClassifier,
    Softmax,
    coding_rate,
    explain,
    export,
    rate_reduction,
    report,
)
from redunet._checks import check_count, memory_advice
from redunet._extras import PACKAGES
from redunet.inspection import Decision
from redunet.inspection.summary import evaluation
from tests.small import LABELS, X, construct


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 8, r"at least two classes are needed, got 1 class: \[0\]"),
        ([0, 1, 0], r"labels must have shape \(8,\).* got \(3,\) for 8 samples"),
        (np.zeros((8, 2, 2)), r"got \(8, 2, 2\) for 8 samples"),
        (np.full((8, 1), 1.0), "at least two classes are needed, got memberships in 1"),
        (np.tile([1.5, -0.5], (8, 1)), "must be at least 0: 8 are not, the smallest is -0.5"),
        (np.tile([math.nan, 1.0], (8, 1)), "must be at least 0: 8 are not, the smallest is nan"),
        (
            np.tile([0.5, 0.25], (8, 1)),
            "must sum to one: those of 8 of 8 samples do not, the first is sample 0 with a sum of "
            "0.75",
        ),
        (np.linspace(0, 1, 8), "labels must be integers or strings, got 0.14"),
    ],
)
def test_labels(labels, message):
    for run in (construct, lambda labels: rate_reduction(X, labels, 0.1)):
        with pytest.raises(ValueError, match=message):
            run(labels=labels)


def test_a_construction_needs_samples_of_every_class():
    with pytest.raises(ValueError, match=r"every class needs samples: classes 1 have none"):
        construct(labels=np.tile([1.0, 0.0], (8, 1)))
    with pytest.raises(ValueError, match=r"classes 1, 2, 3, 4, 5, … \(29 in all\) have none"):
        construct(labels=np.eye(30)[[0] * 8])


def test_long_lists_in_errors_are_cut():
    net = construct()
    net.classes_ = np.arange(97)
    for run, message in (
        (lambda: explain(net, X[0], label=99), r"labels 0, 1, 2, 3, 4, … \(97 in all\), got 99"),
        (lambda: evaluation(net, X, [99] * 8), r"0, 1, 2, 3, 4, … \(97 in all\), got 99"),
        (
            lambda: Decision.from_network(net, X[0], classes=[1, 99]),
            r"… \(97 in all\), got \[1, 99\]",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run()


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
            r"operators must be one of \['exact', 'extensible', 'shared dictionary', "
            r"'variational'\], got 'fast'",
        ),
        (
            {"operators": "variational"},
            "operators='variational': missing a required argument: 'rank'",
        ),
        ({"operators": "variational", "rank": 0}, "rank must be at least 1, got 0"),
        (
            {"operators": "variational", "rank": 3},
            "rank must be at most the number of channels, 2, got 3",
        ),
        ({"rank": 2}, "operators='exact': got an unexpected keyword argument 'rank'"),
        ({"operators": Exact(), "rank": 2}, "rank is an option of the operators: pass it to Exact"),
        (
            {"membership": Softmax(5), "lam": 2},
            "lam is an option of the membership: pass it to",
        ),
        (
            {"membership": Softmax(5), "lam": 500.0},
            "lam is an option of the membership: pass it to",
        ),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0.1"),
        ({"membership": "max"}, r"membership must be one of \['rectified', 'softmax'\], got 'max'"),
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
    with pytest.raises(ValueError, match=r"expected samples of shape \(2, 5\)"):
        construct(validation=(torch.zeros(2, 3, 5), [0, 1]))
    with pytest.raises(ValueError, match="labels 9 are not among 0, 1"):
        construct(validation=(X, [9] * 8))


def test_a_step_that_overshoots_is_warned_about():
    few = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="eta=0.08 or less is safe") as found:
        ReduNet.construct(few, [0, 0, 1, 1], num_layers=1, eta=0.5, eps_sq=0.2)  # ηα = 12.5
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


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps:7"])
def test_devices_are_checked_first(device, tmp_path):
    model = ReduNetClassifier(device=device)
    runs = [lambda: construct(device=device), lambda: model.fit(X, LABELS)]
    runs.append(lambda: ReduNet.load(tmp_path / "none", device=device))
    for run in runs:
        with pytest.raises(ValueError, match=f"the device '{device}' cannot be used here"):
            run()


@pytest.mark.parametrize("ending", [".onnx", ".pt2", ".PT", ".pkl"])
def test_networks_are_not_saved_as_files_of_other_kinds(ending, tmp_path):
    with pytest.raises(ValueError, match=r"end its name in \.safetensors"):
        construct().save(tmp_path / f"net{ending}")
    assert not list(tmp_path.iterdir())


def test_places_and_formats_of_results_are_checked_first(tmp_path, monkeypatch):
    net = construct()
    monkeypatch.setattr(type(net), "samples", lambda *_: pytest.fail("it has begun"))
    monkeypatch.setattr(type(net), "real_form", lambda *_: pytest.fail("it has begun"))
    for place, error, message in (
        (tmp_path / "none" / "page.html", FileNotFoundError, "no such folder"),
        (tmp_path, IsADirectoryError, "is a folder: name a file in it"),
    ):
        with pytest.raises(error, match=message):
            report(net, X, LABELS, place)
        with pytest.raises(error, match=message):
            export(net, place)
    with pytest.raises(ValueError, match=r"file must end in \.pt2 or \.onnx, got .*net\.pkl"):
        export(net, tmp_path / "net.pkl")
    monkeypatch.setitem(PACKAGES, "onnx", ("none",))
    with pytest.raises(ModuleNotFoundError, match=r"needs none, .*pip install 'redunet\[onnx\]'"):
        export(net, tmp_path / "net.onnx")


def test_folders_that_do_not_exist(tmp_path):
    net = construct()
    with pytest.raises(FileNotFoundError, match=f"no such folder: {tmp_path / 'none'}"):
        net.save(tmp_path / "none" / "net.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder, not a file"):
        ReduNet.load(tmp_path)
