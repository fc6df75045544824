import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    PCALift,
    RandomCirculantLift,
    ReduNet,
    Standardize,
    Variational,
)
from redunet.construction.checkpoint import KEY, LAYER
from redunet.files.tensors import read_tensors, write_tensors
from redunet.layers import Softmax

SCRIPT = """
import sys, torch
from redunet import ReduNet, Variational
X = torch.randn(300, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ReduNet.construct(X, torch.arange(300) % 3, num_layers=500, eta=0.5, eps_sq=0.1, momentum=0.5,
                  batch_size=100, checkpoint=sys.argv[1])
"""
X = torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = np.arange(20) % 3
OPTIONS = {"eta": 0.5, "eps_sq": 0.2, "batch_size": 8}


def construct(num_layers, X=X, labels=LABELS, **options):
    return ReduNet.construct(X, labels, num_layers=num_layers, **{**OPTIONS, **options})


def assert_same(net, expected, samples=X):
    assert len(net.layers) == len(expected.layers)
    for (name, ours), (_, theirs) in zip(
        net.state_dict().items(), expected.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11, msg=name)
    assert [a.momentum for a in net.layers] == [b.momentum for b in expected.layers]
    np.testing.assert_allclose(net.history.delta, expected.history.delta, rtol=1e-11)
    torch.testing.assert_close(net(samples), expected(samples), rtol=0, atol=1e-11)


def finished(folder):
    """The time each finished layer was written; one the kill interrupted does not count."""
    return {layer.name: (layer / LAYER).stat().st_mtime_ns for layer in folder.glob("layer-?????")}


def test_a_killed_construction_resumes_at_its_last_layer(tmp_path):
    folder = tmp_path / "checkpoint"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)])
    deadline = time.monotonic() + 120
    while len(finished(folder)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finished(folder)
    done = len(before)
    assert 4 <= done < 500
    (folder / f"layer-{done:05d}.unfinished").mkdir(exist_ok=True)  # a kill may leave one

    samples = torch.randn(
        300, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    options = {"momentum": 0.5, "batch_size": 100, "eps_sq": 0.1, "X": samples}
    labels = np.arange(300) % 3
    resumed = construct(done + 3, labels=labels, checkpoint=folder, **options)
    assert before.items() <= finished(folder).items()  # finished layers were not made again
    assert_same(resumed, construct(done + 3, labels=labels, **options), samples)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.7},
        {"operators": Variational(2)},
        {"validation": (X[:6], LABELS[:6])},
        {"membership": "rectified"},
        {"offload": True},
        {"lam": float("inf")},
    ],
)
@pytest.mark.parametrize("layers", [(2, 5), (4, 4), (5, 3)])
def test_a_finished_construction_can_be_continued_or_cut_short(options, layers, tmp_path):
    first, then = layers
    construct(first, **options, checkpoint=tmp_path / "deep" / "folder")
    net = construct(then, **options, checkpoint=tmp_path / "deep" / "folder")
    expected = construct(then, **options)
    assert_same(net, expected)
    if net.history.validation:
        found, wanted = (n.history.validation.delta for n in (net, expected))
        np.testing.assert_allclose(found, wanted, rtol=1e-11)


def test_features_of_earlier_layers_and_leftovers_go(tmp_path):
    construct(2, checkpoint=tmp_path)
    (tmp_path / "layer-00003.unfinished").mkdir()
    (tmp_path / "layer-00003.unfinished" / "training-current-000000.npy").write_bytes(b"half")
    net = construct(4, checkpoint=tmp_path)
    assert_same(net, construct(4))
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"layer-0000{i}" for i in (1, 2, 3, 4)]
    assert {f.parent.name for f in tmp_path.glob("*/*.npy")} == {"layer-00004"}


def test_features_may_be_on_disk_meanwhile(tmp_path):
    workdir = tmp_path / "work"
    workdir.mkdir()
    construct(2, checkpoint=tmp_path / "c", workdir=workdir)
    assert_same(construct(4, checkpoint=tmp_path / "c", workdir=workdir), construct(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps_sq": 0.3}, "eps_sq is 0.2, expected 0.3."),
        (
            {"momentum": 0.5, "lam": 3},
            "membership is .*'lam': 500.0, .*'lam': 3, .*; momentum is 0.0, expected 0.5.",
        ),
        ({"operators": "extensible"}, r"operators is .*'exact'.*, expected .*'extensible'"),
        (
            {"membership": Softmax(balanced=True)},
            "membership is .*'balanced': False.*'balanced': True",
        ),
        ({"true_membership": True}, "true_membership is False, expected True."),
        ({"batch_size": 10}, r"the list of batch sizes is \[8, 8, 4\], expected \[10, 10\]."),
        ({"X": X.float()}, "the type of features is torch.complex128, .*64; the samples differ."),
        ({"X": X[:, :2]}, r"the shape of features is \[3, 5\], .*; the samples differ."),
        ({"X": X[:19], "labels": LABELS[:19]}, ".*the samples differ; the labels differ."),
        ({"labels": np.arange(20) % 2}, r"the list of classes is \[0, 1, 2\], .*labels differ."),
        ({"labels": (LABELS + 1) % 3}, "the labels differ. To begin again, choose another"),
        ({"labels": np.array([*"abc"])[LABELS]}, "the list of classes is .*'a', 'b', 'c'"),
        ({"labels": np.ma.masked_less(LABELS, 1)}, ".*the labels differ"),
        ({"labels": np.eye(3)[LABELS] * 0.8 + 0.2 / 3}, "the labels differ"),
        (
            {"X": X.roll(1, 0), "labels": np.roll(LABELS, 1)},
            "the samples differ; the labels differ.",
        ),
        ({"X": X.flip(1)}, "the samples differ. The samples must also come in the same order"),
        ({"X": -X}, "the samples differ."),
        ({"X": X + 1e-9 * torch.eye(20, dtype=X.dtype)[:, 7, None, None]}, "the samples differ."),
        ({"validation": (X[:6], LABELS[:6])}, "the validation samples differ"),
        (
            {"lift": torch.nn.Softshrink(0.1)},
            "the lift is None, expected .*Softshrink.*0.1",
        ),
    ],
)
def test_checkpoints_of_other_constructions_are_refused(change, message, tmp_path):
    construct(1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path} belongs to another construction: {message}"):
        construct(2, **change, checkpoint=tmp_path)
    assert_same(construct(2, checkpoint=tmp_path), construct(2))  # and left as they were


class Rolled(torch.nn.Module):
    """Channels in another order, which no rate shows."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, X):
        return X.roll(self.steps, 1)


def test_settings_of_lifts_that_are_not_registered_are_compared(tmp_path):
    construct(1, lift=Rolled(1), checkpoint=tmp_path)
    assert_same(construct(2, lift=Rolled(1), checkpoint=tmp_path), construct(2, lift=Rolled(1)))
    with pytest.raises(ValueError, match=r"settings in the lift is .*'steps', 1\].*'steps', 2\]"):
        construct(2, lift=Rolled(2), checkpoint=tmp_path)


def test_settings_of_another_kind_are_the_same(tmp_path):
    construct(1, eps_sq=1, lam=3, checkpoint=tmp_path)
    net = construct(2, eps_sq=np.float64(1.0), lam=3.0, checkpoint=tmp_path)
    assert_same(net, construct(2, eps_sq=1.0, lam=3.0))


CHANNELS = {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "ndim": 1}


class Scaled(torch.nn.Module):
    """A user's own lift, whose code may change."""

    def __init__(self, power):
        super().__init__()
        self.register_buffer("weight", torch.ones(1))
        self._power = power  # stands for code

    def forward(self, X):
        return self.weight * X.abs() ** self._power


@pytest.mark.parametrize(
    ("lifts", "message"),
    [
        (
            [RandomCirculantLift(**CHANNELS, seed=s) for s in (1, 2)],
            "the lift is .*RandomCirculantLift.*'seed': 1, .*, expected .*'seed': 2, ",
        ),
        (
            [PCALift(**CHANNELS).fit(samples) for samples in (X, X[:10])],
            "another construction: the tensors of the lift differ",
        ),
        (
            [[Standardize(3).fit(samples)] for samples in (X, X.roll(1, 1))],
            "another construction: the tensors of the lift differ",
        ),
        (
            [Scaled(1), Scaled(3)],
            "other features: .*; has the code of the lift",
        ),
    ],
)
def test_another_lift_is_refused(lifts, message, tmp_path):
    construct(1, lift=lifts[0], checkpoint=tmp_path)
    with pytest.raises(ValueError, match=message):
        construct(2, lift=lifts[1], checkpoint=tmp_path)
    assert_same(construct(2, lift=lifts[0], checkpoint=tmp_path), construct(2, lift=lifts[0]))


def test_other_validation_samples_are_refused(tmp_path):
    construct(1, validation=(X[:6], LABELS[:6]), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="construction: the validation samples differ"):
        construct(2, validation=(X[6:12], LABELS[6:12]), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="construction: the validation labels differ"):
        construct(2, validation=(X[:6], LABELS[1:7]), checkpoint=tmp_path)


def shuffled(seed):
    """A loader that shuffles; without a seed, by the global random state of torch."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    data = TensorDataset(X, torch.from_numpy(LABELS))
    return DataLoader(data, batch_size=8, shuffle=True, generator=generator)


def test_a_loader_must_give_the_same_order(tmp_path):
    construct(2, X=shuffled(3), labels=None, checkpoint=tmp_path)
    for seed in (4, None):
        with pytest.raises(ValueError, match="a DataLoader needs shuffle=False, or a generator"):
            construct(4, X=shuffled(seed), labels=None, checkpoint=tmp_path)
    net = construct(4, X=shuffled(3), labels=None, checkpoint=tmp_path)
    assert_same(net, construct(4, X=shuffled(3), labels=None))


@pytest.mark.parametrize(
    "options",
    [
        {"lift": "auto", "eps_sq": None, "eta": None},
        {"X": X[:4], "labels": LABELS[:4] % 2, "lift": "auto", "eps_sq": None, "eta": None},
    ],
    ids=["search", "small classes"],
)
def test_every_kind_of_network_resumes(options, tmp_path):
    construct(1, **options, checkpoint=tmp_path)
    net = construct(3, **options, checkpoint=tmp_path)
    assert_same(net, construct(3, **options))


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    construct(1, checkpoint=tmp_path)
    file = tmp_path / "layer-00001" / LAYER
    header, tensors = read_tensors(file, KEY, "a layer")
    version = header["identity"]["the version of redunet"]
    header["identity"]["the version of redunet"] = "0.0.1"
    write_tensors(tensors, file, KEY, header)
    with pytest.raises(ValueError, match=f"the version of redunet is 0.0.1, expected {version}"):
        construct(2, checkpoint=tmp_path)
    write_tensors(tensors, file, "another key", header)
    with pytest.raises(ValueError, match=r"layer\.safetensors is not a layer of a checkpoint"):
        construct(2, checkpoint=tmp_path)


def test_a_digest_does_not_depend_on_the_batches(tmp_path):
    """A loader and a data set may split the same samples in other ways, but not the features."""
    data = TensorDataset(X, torch.from_numpy(LABELS))
    construct(1, X=data, labels=None, checkpoint=tmp_path)
    for same in (X, DataLoader(data, batch_size=8)):
        labels = LABELS if same is X else None
        net = construct(2, X=same, labels=labels, checkpoint=tmp_path)
        assert_same(net, construct(2))


def test_what_is_saved_is_on_the_disk_before_anything_is_deleted(tmp_path, monkeypatch):
    events = []
    fsync, unlink = os.fsync, type(tmp_path).unlink
    monkeypatch.setattr(os, "fsync", lambda d: events.append(os.readlink(f"/proc/self/fd/{d}")))
    monkeypatch.setattr(
        type(tmp_path), "unlink", lambda self, **k: (events.append(f"-{self}"), unlink(self, **k))
    )
    construct(2, checkpoint=tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    deleted = events.index(f"-{tmp_path}/layer-00001/training-current-000000.npy")
    before = {Path(event).name for event in events[:deleted]}
    wanted = {LAYER, "training-current-000002.npy"}
    assert wanted <= before
    assert events[deleted - 1] == str(tmp_path)  # the new name of the folder
