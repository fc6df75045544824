import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from redunet import ReduNet, Variational

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
    return {
        layer.name: (layer / "operators.safetensors").stat().st_mtime_ns
        for layer in folder.glob("layer-?????")
    }


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
        {"operators": Variational(2, latch_every=3)},
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
        ({"eps_sq": 0.3}, "settings .*'eps_sq': 0.2.* expected .*'eps_sq': 0.3"),
        ({"batch_size": 10}, r"batches \[8, 8, 4\], expected \[10, 10\]"),
        ({"X": X.float()}, r"dtype torch.complex128, expected torch.complex64"),
        ({"X": X[:, :2]}, r"features \[3, 5\], expected \[2, 5\]"),
        ({"labels": np.arange(20) % 2}, r"class counts"),
        ({"X": X.roll(1, 0) ** 2}, "samples of coding rate"),
    ],
)
def test_checkpoints_of_other_constructions_are_refused(change, message, tmp_path):
    construct(1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=f"holds another construction: {message}"):
        construct(2, **change, checkpoint=tmp_path)
    assert_same(construct(2, checkpoint=tmp_path), construct(2))  # and left as they were
