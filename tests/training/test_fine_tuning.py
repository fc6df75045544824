import copy
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from redunet import (
    ExpansionRegression,
    FineTuned,
    MCR2Loss,
    RandomCirculantLift,
    ReduNet,
    ReduNetWarning,
    Softmax,
    datasets,
    export,
    finetune,
    rate_reduction,
)
from redunet.training import ResidualHead
from tests.samples import responses_of

HARD = Softmax(math.inf)  # leaves a reader no say


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
    options = {"lr": 0.02, "batch_size": 20, "validation": None}
    tuned = finetune(net, samples, labels, head=head, epochs=4, **options)
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


@pytest.mark.parametrize("head", ["linear", "residual"])
def test_an_epoch_is_a_step_of_adam_on_relative_parameters(digits, head):
    # One batch: torch's Adam on all parameters over their root mean squares, once.
    X, labels, *_ = digits
    net, samples = network(X, labels, "images")
    options = {"batch_size": 400, "validation": None, "head": head}
    tuned = finetune(net, samples, labels, epochs=1, lr=0.01, **options)
    started = finetune(net, samples, labels, epochs=1, lr=1e-30, **options)
    started.requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(started(samples), labels)
    pairs = [(p, 0.01) for p in started.net.layers.parameters()]
    pairs += [(p, 0.1) for p in started.head.parameters()]
    gradients = torch.autograd.grad(loss, [p for p, _ in pairs], allow_unused=True)
    assert any(g is not None and g.is_complex() for g in gradients)
    after = [*tuned.net.layers.parameters(), *tuned.head.parameters()]
    for (p, lr), gradient, found in zip(pairs, gradients, after, strict=True):
        if gradient is None:  # E of the last layer
            torch.testing.assert_close(found, p.detach(), rtol=0, atol=0)
            continue
        size = p.detach().abs().square().mean().sqrt()
        relative = torch.nn.Parameter(p.detach() / size)
        relative.grad = size * gradient
        torch.optim.Adam([relative], lr).step()
        assert (
            lr / 3 < (relative.detach() - p.detach() / size).abs().square().mean().sqrt() < 2 * lr
        )
        torch.testing.assert_close(found, size * relative.detach(), rtol=1e-3, atol=1e-3 * size)


def test_steps_do_not_depend_on_the_units_of_the_operators(digits):
    # Operators of 1000 times the size, with η and λ of a thousandth, are the same network.
    X, labels, *_ = digits
    net, samples = network(X.double(), labels, "vectors")
    scaled = copy.deepcopy(net)
    for layer in scaled.layers:
        layer.operators.expansion.values *= 1000
        layer.operators.compression.scales *= 1000
        layer.alpha *= 1000
        layer.eta /= 1000
        layer.membership_rule = Softmax(layer.membership_rule.lam / 1000)
    options = {"epochs": 2, "batch_size": 100, "validation": None}
    one, other = (finetune(n, samples, labels, **options) for n in (net, scaled))
    assert one.history.loss[1] < one.history.loss[0]
    torch.testing.assert_close(one(samples), other(samples))


def test_factors_of_any_norm_have_residuals():
    net, samples = network(*datasets.digits(), kind="low rank")
    with torch.no_grad():
        operators = net.layers[0].operators.compression
        operators.factors *= 2  # ‖W‖² up to 4: no Cholesky factor of 2I − WW*
    V = torch.nn.functional.normalize(samples[:7])[None]
    expected = operators.respond(V).norm(dim=3)[0]
    torch.testing.assert_close(responses_of(operators, V).norms(), expected)
    operators.requires_grad_(True)
    torch.testing.assert_close(responses_of(operators, V).norms(), expected)


def test_results_follow_from_the_seed(digits):
    X, labels, *_ = digits
    net, samples = network(X, labels)
    data = DataLoader(TensorDataset(samples, labels), 100, shuffle=True)
    options = {"epochs": 2, "head": "linear", "validation": None}
    for source in ((samples, labels), (data,)):
        state = torch.get_rng_state()
        first, second = (finetune(net, *source, **options) for _ in range(2))
        assert torch.equal(torch.get_rng_state(), state)
        torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
        assert first.history == second.history
        assert finetune(net, *source, seed=1, **options).history != first.history


def test_the_best_epoch_is_kept_and_training_stops(digits):
    X, labels, X_test, labels_test = digits
    net, samples = network(X, labels, "vectors")
    tests = X_test.flatten(1), labels_test
    options = {"epochs": 30, "lr": 0.03, "head": "linear", "batch_size": 20}
    tuned = finetune(net, samples, labels, validation=tests, patience=2, **options)
    history = tuned.history
    accuracies = history.validation_accuracy
    assert history.best_epoch == len(accuracies) - 2 < 28
    best = max(accuracies)
    assert accuracies[-3] == best
    assert (tuned.predict(tests[0]) == labels_test.numpy()).mean() == pytest.approx(best)
    constructed = (net.predict(tests[0]) == labels_test.numpy()).mean()
    assert history.constructed_accuracy == pytest.approx(constructed)
    assert constructed < best


@pytest.mark.parametrize(("head", "lr"), [("residual", 1.0), ("linear", 1e-6)])
def test_a_training_that_does_harm_returns_the_constructed_network(digits, head, lr):
    X, labels, X_test, labels_test = digits
    net, samples = network(X, labels, "images")
    options = {"epochs": 2, "lr": lr, "head": head, "validation": (X_test, labels_test)}
    with pytest.warns(ReduNetWarning) as caught:
        tuned = finetune(net, samples, labels, **options)
    told = [str(warning.message) for warning in caught]
    assert "the constructed network is returned as it was, with head='residual'" in told[-1]
    right = int((net.predict(X_test) == labels_test.numpy()).sum())
    assert f"of 400 validation samples it has {right} right" in told[-1]
    assert ("such as lr=0.1" in told[0]) == (lr == 1.0) == (len(told) == 2)
    assert tuned.history.best_epoch == 0
    assert type(tuned.head) is ResidualHead
    torch.testing.assert_close(tuned.net.state_dict(), net.state_dict(), rtol=0, atol=0)
    assert (tuned.predict(X_test) == net.predict(X_test)).all()


def test_a_loss_that_is_not_finite_stops_the_training(digits):
    X, labels, *_ = digits
    net, samples = network(X, labels, "vectors")

    class Broken(torch.nn.CrossEntropyLoss):
        calls = 0

        def forward(self, logits, targets):
            self.calls += 1  # the first batch; then epochs of two batches
            return super().forward(logits, targets) * (torch.nan if self.calls > 3 else 1)

    options = {"batch_size": 200, "validation": None}
    with pytest.warns(ReduNetWarning, match="fine-tuning diverges"):
        tuned = finetune(net, samples, labels, loss=Broken(), **options)
    assert len(tuned.history.loss) == tuned.history.best_epoch == 1
    assert tuned(samples).isfinite().all()


def test_classes_of_uneven_size_start_with_the_predictions_of_the_network(digits):
    X, labels, *_ = digits
    rows = torch.cat([torch.nonzero(labels == c)[: 4 + 3 * c, 0] for c in range(10)])
    net = ReduNet.construct(X[rows], labels[rows], lift="auto")
    started = finetune(net, X[rows], labels[rows], epochs=1, lr=1e-30, validation=None)
    assert (started.predict(X) == net.predict(X)).all()
    assert (net.predict(X) == labels.numpy()).mean() > 0.7


@pytest.mark.parametrize("membership", ["softmax", Softmax(30.0, balanced=True), HARD])
def test_a_reader_keeps_its_say(digits, membership, tmp_path):
    X, labels, X_test, _ = (t.flatten(1) if t.ndim > 1 else t for t in digits)
    reader = ExpansionRegression().fit(X[:200], labels[:200])
    options = {"num_layers": 1, "membership": membership, "reader": reader}
    net = ReduNet.construct(X[:200], labels[:200], **options)
    started = finetune(net, X, labels, epochs=1, lr=1e-30, validation=None)
    assert (started.predict(X_test) == net.predict(X_test)).all()
    net.reader = None
    assert (started.predict(X_test) == net.predict(X_test)).all() == (membership == HARD)
    assert started(X_test).dtype == torch.float32
    started.save(tmp_path / "tuned.safetensors")
    loaded = FineTuned.load(tmp_path / "tuned.safetensors")
    torch.testing.assert_close(loaded(X_test), started(X_test), rtol=0, atol=0)
    export(started, tmp_path / "tuned.pt2")
    logits, _ = torch.export.load(tmp_path / "tuned.pt2").module()(X_test)
    torch.testing.assert_close(logits, started(X_test), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["vectors", "low rank", "images"])
def test_the_default_rate_changes_logits_by_half(digits, kind):
    X, labels, *_ = digits
    net, samples = network(X, labels, kind)
    options = {"epochs": 1, "batch_size": 400, "validation": None}
    tuned = finetune(net, samples, labels, **options)
    started = finetune(net, samples, labels, lr=1e-30, **options)
    change = (tuned(samples) - started(samples)).square().mean().sqrt()
    assert 0.1 < change < 1  # the step is so long that the change is not quite linear
    same = finetune(net, samples, labels, lr=tuned.history.lr, **options)
    torch.testing.assert_close(same.state_dict(), tuned.state_dict(), rtol=0, atol=0)


def test_the_default_gains_with_more_samples(digits):
    X, labels, X_test, labels_test = digits
    net, samples = network(X, labels, "images")
    tuned = finetune(net, samples[100:], labels[100:], batch_size=25, validation=None, epochs=5)
    before, after = ((n.predict(X_test) == labels_test.numpy()).mean() for n in (net, tuned))
    assert after > before + 0.03


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
        ({"loss": MCR2Loss(), "head": "linear"}, "a loss on features does not train a linear head"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"labels": [11] * 400}, "labels 11 are not among"),
        ({"X": torch.zeros(400, 3)}, r"expected samples of shape \(64,\)"),
    ],
)
def test_errors_say_what_is_wrong(digits, options, message):
    X, labels, *_ = digits
    net, samples = network(X, labels)
    options = {"X": samples, "labels": labels, **options}
    with pytest.raises(ValueError, match=message):
        finetune(net, **options)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            DataLoader(TensorDataset(torch.zeros(3, 64), torch.zeros(3)), 8, drop_last=True),
            ValueError,
            "X has no samples",
        ),
        (
            DataLoader([{"x": torch.zeros(64), "y": 1}]),
            TypeError,
            "got dictionaries with the keys x, y",
        ),
        (TensorDataset(*[torch.zeros(4, 64)] * 3), TypeError, "X must give pairs .* of 3 parts"),
        (TensorDataset(torch.zeros(4, 64)), TypeError, "got samples without labels"),
    ],
)
def test_streams_that_do_not_fit_are_refused_by_name(digits, data, error, message):
    X, labels, *_ = digits
    net, _ = network(X, labels)
    with pytest.raises(error, match=message):
        finetune(net, data, validation=None)
