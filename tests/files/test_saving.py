import json
import math
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from redunet import RandomCirculantLift, ReduNet, Standardize
from redunet.construction.network_file import KEY
from redunet.files import tensors as storage
from tests.samples import samples

LABELS = np.array(["no", "yes"])[np.arange(8) % 2]


def network(*shape, dtype=torch.float64, **options):
    X = samples(8, *shape, dtype=dtype)
    return ReduNet.construct(X, LABELS, **{"num_layers": 2, "eps_sq": 0.5, **options}), X


@pytest.fixture
def saved(tmp_path):
    """A network, its samples, and the file it is in."""
    net, X = network(2, 5)
    path = tmp_path / "net.safetensors"
    net.save(path)
    return net, X, path


@pytest.mark.parametrize("shape", [(6,), (2, 5), (1, 4, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"membership": "rectified"},
        {"lam": math.inf},
        {"momentum": 0.7, "num_layers": 3},
        {"operators": "variational", "rank": 1, "momentum": 0.3},
    ],
)
def test_round_trip(shape, dtype, options, tmp_path):
    lift = RandomCirculantLift(shape[0], 3, 3, len(shape) - 1, threshold=0.1) if shape[1:] else None
    X = samples(8, *shape, dtype=dtype)
    net, X = network(*shape, dtype=dtype, lift=lift, validation=(X[:3], LABELS[:3]), **options)
    net.batch_size = 5
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(X), net(X))
    assert torch.equal(twin.membership(X), net.membership(X))
    np.testing.assert_array_equal(twin.classes_, net.classes_)
    assert twin.classes_.dtype == net.classes_.dtype
    for one, other in (
        (twin.history, net.history),
        (twin.history.validation, net.history.validation),
    ):
        np.testing.assert_array_equal(one.expansion, other.expansion)
        np.testing.assert_array_equal(one.compression, other.compression)
    assert (twin.settings, twin.batch_size) == (net.settings, 5)
    assert (twin.sample_shape, twin.feature_shape) == (net.sample_shape, net.feature_shape)
    assert [a.momentum for a in twin.layers] == [b.momentum for b in net.layers]
    assert repr(twin) == repr(net)
    assert not any(p.requires_grad for p in twin.parameters())
    twin.save(tmp_path / "twin.safetensors")
    assert torch.equal(ReduNet.load(tmp_path / "twin.safetensors")(X), net(X))


def test_loading_onto_a_device(saved, device):
    net, X, path = saved
    there = ReduNet.load(path, device=device)
    assert there(X).device.type == device.type
    torch.testing.assert_close(there(X).cpu(), net(X), rtol=0, atol=1e-10)


def test_lazily_conjugated_operators_are_saved_as_they_are(saved):
    net, X, path = saved
    for layer in net.layers:
        layer.operators.expansion.values.data = layer.operators.expansion.values.data.conj()
    net.save(path)
    assert torch.equal(ReduNet.load(path)(X), net(X))


class Doubling(torch.nn.Module):
    """A user's own lift."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, X):
        return torch.cat([X, (self.factor * X).sin()], 1)


def test_a_lift_of_the_users_own_is_passed_again(tmp_path):
    net, X = network(2, 5, lift=Doubling(3.0))
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"lift of class Doubling \(not registered\): register"):
        ReduNet.load(tmp_path / "net")
    assert torch.equal(ReduNet.load(tmp_path / "net", lift=Doubling())(X), net(X))


@pytest.mark.parametrize(
    ("lift", "message"),
    [
        (None, "has no lift: leave lift= out"),
        (
            Standardize(2).fit(samples(8, 2, 5)),
            r"describes itself, Standardize\(in_.*: leave lift=",
        ),
    ],
)
def test_a_lift_that_is_not_needed_is_refused(lift, message, tmp_path):
    net, _ = network(2, 5, lift=lift)
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match=message):
        ReduNet.load(tmp_path / "net", lift=Doubling())


def test_a_failed_save_leaves_the_old_file_and_nothing_else(saved, monkeypatch):
    net, X, path = saved

    def half_a_file(tensors, file, metadata):
        file.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "save_file", half_a_file)
    with pytest.raises(OSError, match="no space left"):
        network(2, 5, num_layers=1)[0].save(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert torch.equal(ReduNet.load(path)(X), net(X))


KILLED_WHILE_SAVING = """
import os, signal, sys
from redunet import ReduNet
from redunet.files import tensors as storage

whole = storage.save_file

def killed(tensors, file, metadata):
    whole(tensors, file, metadata)
    os.truncate(file, os.path.getsize(file) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

storage.save_file = killed
ReduNet.construct([[1.0, 0.0], [0.0, 1.0]], [0, 1], num_layers=1).save(sys.argv[1])
"""


def test_a_save_that_is_killed_leaves_the_old_file(saved):
    net, X, path = saved
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert torch.equal(ReduNet.load(path)(X), net(X))


def rewritten(path, change_tensors=lambda tensors: None, change_header=lambda header: None):
    """Change what is in a file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()[KEY])
    change_tensors(tensors)
    change_header(header)
    save_file(tensors, path, metadata={KEY: json.dumps(header)})


FIRST = "layers.0.operators.expansion.values"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(FIRST), rf"tensor {FIRST} should be torch\.float64 of shape .*, got none"),
        (
            lambda t: t.update(extra=torch.zeros(1)),
            "tensor extra should be missing, got torch.float32",
        ),
        (
            lambda t: t.update({FIRST: t[FIRST][:2].clone()}),
            rf"tensor {FIRST} should be torch\.float64 of shape \(3, 1, 3, 2\), got "
            r"torch\.float64 of shape \(2, 1, 3, 2\)",
        ),
        (lambda t: t.update({FIRST: t[FIRST].float()}), r"got torch\.float32 of shape \(3,"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, change, message):
    _, _, path = saved
    rewritten(path, change_tensors=change)
    with pytest.raises(ValueError, match=message):
        ReduNet.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format=99), "has format 99, this version reads format 7"),
        (lambda h: h.pop("classes"), "has a damaged header: KeyError 'classes'"),
        (lambda h: h["settings"].update(nonsense=1), "has a damaged header: TypeError"),
        (lambda h: h.update(dtype="no_such_type"), "has a damaged header: AttributeError"),
        (lambda h: h["tensors"].update({FIRST: 3}), "has a damaged header: TypeError"),
        (
            lambda h: h["layers"].pop(),
            r'not hold the tensors of this network: (?s:.*)Unexpected .*"layers.1.alpha", ',
        ),
        (
            lambda h: h["layers"].append(h["layers"][0]),
            "has a damaged header: TypeError .* missing 1 required positional argument: 'values'",
        ),
    ],
)
def test_headers_that_do_not_fit_are_refused(saved, change, message):
    _, _, path = saved
    rewritten(path, change_header=change)
    with pytest.raises(ValueError, match=message):
        ReduNet.load(path)


class Bomb:
    """What a hostile pickle does when it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code from the file has run')",)


def test_files_of_another_kind_are_refused(saved, tmp_path):
    _, _, path = saved
    whole = path.read_bytes()
    for content in (whole[:-10], whole[:20], b"", b"some text", pickle.dumps(Bomb())):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a complete safetensors file"):
            ReduNet.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"is not a network that ReduNet\.save wrote"):
        ReduNet.load(path)
    save_file({"x": torch.zeros(1)}, path, metadata={KEY: "{"})
    with pytest.raises(ValueError, match="has a damaged header"):
        ReduNet.load(path)
    with pytest.raises(FileNotFoundError, match="No such file"):
        ReduNet.load(tmp_path / "nothing")
