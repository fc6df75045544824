import math

import pytest
import torch
from torch import nn

from redunet import RandomCirculantLift, ReduNet, ScatteringLift, export, finetune
from tests.exported import assert_graph_equals, classes_of, graph_of

LIFT = RandomCirculantLift(1, 6, 3, 2)
WAYS = {
    "vectors": ((12,), {}),
    "images": ((1, 6, 5), {"lift": LIFT}),
    "signals": ((2, 9), {"lift": RandomCirculantLift(2, 4, 3, 1, threshold=0.1)}),
    "low rank": ((1, 6, 5), {"lift": LIFT, "operators": "variational", "rank": 2}),
    "momentum": ((12,), {"momentum": 0.5}),
    "rectified": ((1, 6, 5), {"lift": LIFT, "membership": "rectified"}),
    "hard": ((12,), {"lam": math.inf}),
}


def network(shape, dtype=torch.float32, **options):
    X = torch.randn(40, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    options = {"num_layers": 2, "eps_sq": 0.5, "lam": 20.0, "eta": 0.2, **options}
    return ReduNet.construct(X, torch.arange(40) % 3, **options), X


@pytest.mark.parametrize("way", WAYS)
def test_real_arithmetic_gives_the_same(way):
    shape, options = WAYS[way]
    net, X = network(shape, torch.float64, num_layers=3, **options)
    expected = net(X), net.membership(X), net.membership(X).argmax(1)
    torch.testing.assert_close(net.real_form()(X), expected, rtol=1e-11, atol=1e-11)
    zero = net.real_form()(torch.zeros_like(X[:1]))[0]
    assert not zero.any()


@pytest.mark.parametrize(
    ("way", "format"),
    [
        *((way, "pt2") for way in ("vectors", "images", "low rank", "rectified")),
        *((way, "onnx") for way in ("images", "low rank", "rectified")),  # which takes seconds each
    ],
)
def test_exported_files_give_the_same(way, format, tmp_path):
    shape, options = WAYS[way]
    net, X = network(shape, **options)
    assert_graph_equals(net, tmp_path / f"net.{format}", X[:1], X[:7], X)
    assert [f.name for f in tmp_path.iterdir()] == [f"net.{format}"]


def test_scattering_is_exported_as_it_is(tmp_path):
    lift = [ScatteringLift((8, 8), 2, 4, phases=4), nn.Flatten()]
    net, X = network((1, 8, 8), lift=lift, eta=0.001)
    assert_graph_equals(net, tmp_path / "net.pt2", X[:5])


@pytest.mark.parametrize(
    ("head", "format"), [("linear", "pt2"), ("residual", "pt2"), ("residual", "onnx")]
)
def test_fine_tuned_networks_give_logits(head, format, tmp_path):
    net, X = network(*WAYS["images"][:1], **WAYS["images"][1])
    tuned = finetune(net, X, torch.arange(40) % 3, head=head, epochs=1, validation=None)
    path = tmp_path / f"net.{format}"
    export(tuned, path)
    logits, labels = graph_of(path)(X[:7])
    torch.testing.assert_close(logits, tuned(X[:7]), rtol=1e-4, atol=1e-5)
    assert tuned.classes_[labels].tolist() == tuned.predict(X[:7]).tolist()


def test_names_of_classes_go_into_the_file_and_steps_to_standard_error(tmp_path, capsys):
    X = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    net = ReduNet.construct(X, [["cat", "dog"][n % 2] for n in range(40)], num_layers=1)
    export(net, tmp_path / "net.pt2")
    assert "export to pt2: 100%" in capsys.readouterr().err
    assert classes_of(tmp_path / "net.pt2") == ["cat", "dog"]


def test_a_failed_export_leaves_the_old_file(tmp_path, monkeypatch):
    net, _ = network((12,))
    path = tmp_path / "net.pt2"
    path.write_text("old")

    def fail(program, unfinished, **options):
        unfinished.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        export(net, path)
    assert [f.read_text() for f in tmp_path.iterdir()] == ["old"]
