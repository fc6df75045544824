"""The training without labels of the papers takes its first step on small files."""

import sys
from functools import partial

import pytest
import torch

from tests.definitions import negative_rate_reduction
from tests.paper_files import WRITE, options_of, write_cifar10


def test_images_without_labels_are_trained_and_clustered(imported, tmp_path, monkeypatch, capsys):
    write_cifar10(tmp_path)
    module, papers, resnet = map(imported, ("self_supervised", "papers", "resnet"))
    narrow = partial(resnet.resnet18_for_cifar, width=8)
    monkeypatch.setattr(papers, "resnet18_for_cifar", narrow)
    monkeypatch.setattr(module, "SAMPLES", 4)
    monkeypatch.setattr(module, "DISTORTIONS", 2)
    options = ["--data", "cifar10", "--paper", "--data-dir", tmp_path, "--epochs", 1]
    options += ["--clustered", 3, "--checkpoint", tmp_path / "run.pt"]
    options += ["--figures", tmp_path]
    shown = []
    for _ in range(2):  # the second time from the file
        monkeypatch.setattr(sys, "argv", ["self_supervised.py", *map(str, options)])
        module.main()
        shown.append(capsys.readouterr().out)
    assert "30 test images of cifar10, clustered without labels" in shown[0]
    assert shown[0] == shown[1]
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    assert len(state["loss"]["_extra_state"]["rates"]) == 2


@pytest.mark.parametrize(("data", "classes"), [("cifar10", 10), ("cifar100", 20), ("stl10", 10)])
def test_the_first_step_without_labels(data, classes, imported, tmp_path):
    WRITE[data](tmp_path)
    papers, module = imported("papers"), imported("self_supervised")
    problem = papers.self_supervised_problem(options_of(data, tmp_path))
    setting = papers.SELF_SUPERVISED[data]
    assert setting.schedule == (0.1, 100, 0.9, 5e-4, (20, 40))
    assert (problem.num_classes, problem.dim) == (classes, 128)
    assert problem.train[1].max() < classes
    torch.manual_seed(0)
    featurizer = imported("resnet").resnet18_for_cifar(3, 128, width=16)
    loss = module.RecordedMCR2Loss(gamma1=20, gamma2=20)
    X = setting.distortions(problem.train[0][:3].repeat_interleave(2, 0))
    labels = torch.arange(3).repeat_interleave(2)
    Z = featurizer(X)
    scaled = torch.eye(128) + 20 * 128 / (6 * 0.5) * Z.T @ Z
    expansion = torch.linalg.slogdet(torch.eye(128) + 128 / (6 * 0.5) * Z.T @ Z)[1] / 2
    compression = negative_rate_reduction(Z, labels) + expansion
    value = loss(Z, labels)
    expected = compression - torch.linalg.slogdet(scaled)[1] / (2 * 20)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(loss.rates[0]), torch.stack([expansion, compression]))
    value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in featurizer.parameters())
