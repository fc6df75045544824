"""Fine-tuned networks in files, and in everything that takes a network."""

import copy

import numpy as np
import pytest
import torch

from redunet import (
    FineTuned,
    RandomCirculantLift,
    ReduNet,
    explain,
    export,
    finetune,
    report,
)
from redunet.training import LinearHead
from tests.inspection.report_page import Page
from tests.samples import samples

NAMES = np.array(["wren", "robin", "finch"])
LABELS = NAMES[np.arange(45) % 3]


class Spoiled(torch.nn.Sequential):
    """A lift that is not finite for the first two samples of a batch."""

    def forward(self, X):
        return (
            super().forward(X) * torch.where(torch.arange(len(X)) < 2, torch.nan, 1)[:, None, None]
        )


@pytest.fixture(scope="module", params=["residual", "linear"])
def tuned(request):
    X = samples(45, 1, 9, seed=0).float()
    lift = RandomCirculantLift(1, 6, 3, ndim=1)
    net = ReduNet.construct(X, LABELS, num_layers=2, lift=lift)
    options = {"epochs": 2, "head": request.param, "validation": None}
    return finetune(net, X, LABELS, **options), samples(20, 1, 9, seed=1).float()


def test_a_file_holds_everything(tuned, tmp_path):
    model, X = tuned
    path = tmp_path / "tuned.safetensors"
    model.save(path)
    loaded = FineTuned.load(path)
    torch.testing.assert_close(loaded(X), model(X), rtol=0, atol=0)
    assert (loaded.predict(X) == model.predict(X)).all()
    assert loaded.history == model.history
    assert loaded.classes_.tolist() == sorted(NAMES)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_other_files_are_refused_by_name(tuned, tmp_path):
    model, _ = tuned
    model.save(tmp_path / "tuned.safetensors")
    model.net.save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"tuned\.safetensors is not .* got redunet fine-tuned"):
        ReduNet.load(tmp_path / "tuned.safetensors")
    with pytest.raises(ValueError, match=r"net\.safetensors is .* FineTuned\.save wrote: expected"):
        FineTuned.load(tmp_path / "net.safetensors")


def test_a_head_of_ones_own_cannot_be_saved(tuned, tmp_path):
    class Mine(LinearHead):
        pass

    model, _ = tuned
    with pytest.raises(ValueError, match="Mine is not registered as a kind of head"):
        FineTuned(model.net, Mine(model.net)).save(tmp_path / "mine.safetensors")
    assert not [*tmp_path.iterdir()]


def test_memberships_are_the_softmax_of_the_logits(tuned):
    model, X = tuned
    membership = model.membership(X)
    torch.testing.assert_close(membership, torch.softmax(model(X), 1))
    assert (model.classes_[membership.argmax(1)] == model.predict(X)).all()


def test_samples_whose_lift_is_not_finite_get_no_label(tuned):
    model, X = tuned
    spoiled = FineTuned(copy.deepcopy(model.net), model.head)
    spoiled.net.lift = Spoiled(model.net.lift)
    with pytest.raises(ValueError, match="2 of 20 samples have no membership"):
        spoiled.predict(X)


def test_explanations_tell_the_prediction_of_the_head(tuned):
    model, X = tuned
    for x, prediction in zip(X, model.predict(X), strict=True):
        explanation = explain(model, x)
        assert explanation.prediction == prediction
        assert f"prediction: {prediction}" in str(explanation)
    layers = explain(model.net, X[-1])
    np.testing.assert_array_equal(explanation.residuals, layers.residuals)


def test_reports_count_the_predictions_of_the_head(tuned, tmp_path):
    model, X = tuned
    labels = NAMES[np.arange(20) % 3]
    report(model, X, labels, tmp_path / "report.html", worst=2)
    page = Page(tmp_path / "report.html")
    accuracy = (model.predict(X) == labels).mean()
    results = dict(row for table in page.tables for row in table if len(row) == 2)
    assert float(results["accuracy"]) == pytest.approx(accuracy, abs=5e-4)
    predicted = {row[0]: row[2] for row in page.table("sample", "true class")}
    for name, prediction in predicted.items():
        assert prediction == model.predict(X)[int(name.removeprefix("Sample "))]


def test_an_exported_graph_gives_the_logits(tuned, tmp_path):
    model, X = tuned
    model.save(tmp_path / "tuned.safetensors")
    export(FineTuned.load(tmp_path / "tuned.safetensors"), tmp_path / "tuned.pt2")
    logits, _ = torch.export.load(tmp_path / "tuned.pt2").module()(X)
    torch.testing.assert_close(logits, model(X), rtol=1e-4, atol=1e-4)
