import copy
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from redunet import MCR2Loss, RandomCirculantLift, ReduNet, datasets, finetune, rate_reduction
from redunet.files.tensors import write_tensors


@pytest.fixture(scope="module")
def digits():
    X, labels = datasets.digits()
    return X[:400], labels[:400], X[400:800], labels[400:800]


def network(X, labels, kind="vectors"):
    options = {
        "vectors": {},
        "low rank": {"operators": "variational", "rank": 4},
        "images": {"lift": RandomCirculantLift(1, 6, 3, 2), "eps_sq": 0.1},
    }[kind]
    samples = X if kind == "images" else X.flatten(1)
    net = ReduNet.construct(
        samples[:100], labels[:100], num_layers=2, eta=0.1, **{"eps_sq": 0.5, **options}
    )
    return net, samples


@pytest.mark.parametrize("kind", ["vectors", "low rank", "images"])
@pytest.mark.parametrize("head", ["linear", "residual"])
def test_it_learns_and_leaves_the_network_alone(digits, kind, head):
    X, labels, *_ = digits
    net, samples = network(X, labels, kind)
    constructed = copy.deepcopy(net.state_dict())
    tuned = finetune(net, samples, labels, head=head, epochs=4, batch_size=20)
    torch.testing.assert_close(net.state_dict(), constructed, rtol=0, atol=0)
    assert tuned.history.loss[-1] < tuned.history.loss[0] / 2
    changed = [
        not torch.equal(a, b)
        for a, b in zip(tuned.net.layers.parameters(), net.layers.parameters(), strict=True)
    ]
    if head == "linear":
        assert all(changed)
    else:
        assert not changed[-2]  # E of the last layer, which is not used
        assert sum(changed) == len(changed) - 1
    assert not any(p.requires_grad for p in tuned.parameters())


def test_an_epoch_is_gradient_descent_on_everything(digits):
    # One batch, without momentum: parameters less the learning rate times autograd's gradient.
    X, labels, *_ = digits
    net, samples = network(X, labels, "images")
    options = {"lr": 0.1, "momentum": 0.0, "batch_size": 400, "validation": None}
    tuned = finetune(net, samples, labels, epochs=1, **options)
    started = finetune(net, samples, labels, epochs=1, **{**options, "lr": 1e-30})
    started.requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(started(samples), labels)
    parameters = [*started.net.layers.parameters(), *started.head.parameters()]
    gradients = torch.autograd.grad(loss, parameters)
    assert any(g.is_complex() for g in gradients)
    for before, gradient, after in zip(
        parameters,
        gradients,
        [*tuned.net.layers.parameters(), *tuned.head.parameters()],
        strict=True,
    ):
        torch.testing.assert_close(after, before - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["vectors", "low rank", "images"])
def test_operators_stay_hermitian_if_asked_to(digits, kind):
    X, labels, *_ = digits
    net, samples = network(X, labels, kind)
    for hermitian in (False, True):
        tuned = finetune(net, samples, labels, epochs=1, lr=0.1, hermitian=hermitian)
        E = tuned.net.layers[0].operators.expansion
        assert (torch.linalg.norm(E - E.mH) < 1e-5 * torch.linalg.norm(E)) == hermitian
        if kind == "images":
            C = tuned.net.layers[0].operators.compression
            assert (torch.linalg.norm(C - C.mH) < 1e-5 * torch.linalg.norm(C)) == hermitian


def test_factors_of_any_norm_have_residuals():
    net, samples = network(*datasets.digits(), kind="low rank")
    with torch.no_grad():
        operators = net.layers[0].operators
        operators.factors *= 2  # ‖W‖² up to 4: no Cholesky factor of 2I − WW*
    V = torch.nn.functional.normalize(samples[:7])[None]
    expected = operators.respond(V).norm(dim=3)[0]
    torch.testing.assert_close(operators.responder()(V).norms(), expected)
    operators.requires_grad_(True)
    torch.testing.assert_close(operators.responder()(V).norms(), expected)


def test_an_interrupted_training_goes_on(digits, tmp_path, monkeypatch):
    X, labels, *_ = digits
    net, samples = network(X, labels, "images")
    options = {"epochs": 4, "patience": 3}
    expected = finetune(net, samples, labels, **options)

    training = sys.modules[finetune.__module__]._FineTuning
    epochs = iter([training.run_epoch] * 2)  # and no more

    path = tmp_path / "tuning.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(training, "run_epoch", lambda self, *args: next(epochs)(self, *args))
        with pytest.raises(StopIteration):
            finetune(net, samples, labels, checkpoint=path, **options)
    resumed = finetune(net, samples, labels, checkpoint=path, **options)
    torch.testing.assert_close(resumed.state_dict(), expected.state_dict(), rtol=0, atol=0)
    assert resumed.history == expected.history
    finished = finetune(net, samples, labels, checkpoint=path, **options)
    torch.testing.assert_close(finished.state_dict(), expected.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"to another fine-tuning: lr is 0\.01, expected 0\.02"):
        finetune(net, samples, labels, checkpoint=path, lr=0.02, **options)
    write_tensors({"a": torch.zeros(1)}, path, "other", {})
    with pytest.raises(ValueError, match="is not a checkpoint of fine-tuning"):
        finetune(net, samples, labels, checkpoint=path, **options)


def test_the_best_epoch_is_kept_and_training_stops(digits):
    X, labels, X_test, labels_test = digits
    net, samples = network(X, labels, "vectors")
    tests = X_test.flatten(1), labels_test
    tuned = finetune(net, samples, labels, epochs=30, lr=3.0, validation=tests, patience=2)
    accuracies = tuned.history.validation_accuracy
    assert len(accuracies) < 30
    best = max(accuracies)
    assert accuracies[-3] == best > max(accuracies[-2:])
    assert (tuned.predict(tests[0]) == labels_test.numpy()).mean() == pytest.approx(best)


def test_rate_reduction_may_be_the_objective(digits):
    X, labels, *_ = digits
    net, samples = network(X, labels, "images")
    options = {"head": "residual", "batch_size": 200, "validation": None}
    tuned = finetune(net, samples, labels, loss=MCR2Loss(0.1), epochs=3, lr=0.1, **options)
    before, after = (rate_reduction(n(samples), labels, 0.1).delta for n in (net, tuned.net))
    assert after > before


def test_data_sets_and_loaders(digits):
    X, labels, X_test, labels_test = digits
    net, samples = network(X, labels, "vectors")
    data = TensorDataset(samples, labels)
    tests = X_test.flatten(1), labels_test
    for source in (data, DataLoader(data, 20, shuffle=True)):
        tuned = finetune(net, source, epochs=4, batch_size=20, validation=tests)
        assert tuned.history.validation_accuracy[-1] > 0.7
        assert len(tuned.history.loss) == 4
    with pytest.raises(ValueError, match="a data set cannot be split"):
        finetune(net, data)
    with pytest.raises(ValueError, match="X is a TensorDataset, which has its own labels"):
        finetune(net, data, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "conv"}, "head must be one of"),
        ({"loss": MCR2Loss()}, "a loss on features does not train a linear head"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"labels": [11] * 400}, r"labels \[11\] are not among"),
        ({"X": torch.zeros(400, 3)}, r"expected samples of shape \(64,\)"),
    ],
)
def test_errors_say_what_is_wrong(digits, options, message):
    X, labels, *_ = digits
    net, samples = network(X, labels)
    options = {"X": samples, "labels": labels, **options}
    with pytest.raises(ValueError, match=message):
        finetune(net, **options)
