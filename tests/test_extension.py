"""New kinds of operators, memberships and lifts go through everything that networks go through.

They are defined here, outside of the package, and docs/extending.md shows them.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from redunet import Lift, ReduNet, datasets, explain, finetune, rate_reduction, report
from redunet.inspection.summary import description
from redunet.layers import (
    ALL,
    MEMBERSHIPS,
    OPERATOR_KINDS,
    REPRESENTATIONS,
    Membership,
    Moments,
    Operator,
    OperatorKind,
    SecondMoments,
    TotalMoment,
)
from redunet.lifts import LIFTS
from redunet.plots import plot_eigenvalues
from redunet.rates import scaled, squared_norms
from tests.exported import assert_graph_equals


class DiagonalOperator(Operator):
    """Cʲ that multiply each channel at each frequency by a number.

    Parameters
    ----------
    gains : Tensor of shape (F, k, C), real
    """

    def __init__(self, gains):
        super().__init__(count=gains.shape[1], channels=gains.shape[2])
        self.gains = nn.Parameter(gains, requires_grad=False)

    def respond(self, V, frequencies=ALL):
        """Cʲ v for samples (F, m, C) and all classes, (F, m, k, C)."""
        return scaled(V.unsqueeze(2), self.gains[frequencies].unsqueeze(1))

    def real_form(self):
        """The same operators on real and imaginary parts, for export."""
        twice = 2 if len(self.gains) > 1 else 1  # features of one frequency are real
        return DiagonalOperator(self.gains.repeat(1, 1, twice))


class DiagonalMoments(Moments):
    """The power of every class in every channel at every frequency."""

    def __init__(self, info):
        shape = len(info.spectrum), len(info.counts), info.channels
        super().__init__(info, sums=info.zeros(*shape, dtype=info.dtype.to_real()))

    def add(self, V, partition):
        """Add a batch of samples (F, m, C)."""
        for batch in partition.class_batches:
            power = batch.gather(V).abs().square().sum(2)
            self.sums.index_add_(1, batch.classes, power)

    def finish(self):
        """Sum over all processes, if there are several."""
        super().finish()
        self.regularised = 1 + self.info.class_scales[:, :, None] * self.sums

    def log_dets(self):
        """log det(I + α_j M_j) for the rates, (F, k)."""
        return self.regularised.log().sum(2)

    def operator(self):
        """All Cʲ."""
        return DiagonalOperator(
            self.info.class_alphas.to(self.regularised)[:, None] / self.regularised
        )


@dataclass(frozen=True)
class Diagonal(OperatorKind):
    """Operators that neglect the correlations between the channels of a class."""

    def moments(self, info, previous):
        """Empty moments, to which all samples are added."""
        return SecondMoments(info, classes=DiagonalMoments(info), total=TotalMoment(info))


@dataclass(frozen=True)
class PowerLaw(Membership):
    """π̂_j proportional to ‖Cʲ v‖ to the power −p."""

    exponent: float = 8.0

    def __call__(self, residual_norms, proportions):
        """Residual norms (m, k) to memberships (m, k)."""
        return torch.softmax(-self.exponent * residual_norms.clamp_min(1e-12).log(), dim=1)


class SlopeLift(Lift):
    """A signal and its circular differences at several distances."""

    def __init__(self, distances):
        super().__init__()
        self.distances = tuple(distances)

    def forward(self, X):
        """Lift (m, C, T) to (m, C · (1 + number of distances), T)."""
        slopes = [X - X.roll(distance, -1) for distance in self.distances]
        return torch.cat([X, *slopes], 1)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The kinds are registered during these tests only."""
    for registry in (OPERATOR_KINDS, REPRESENTATIONS, MEMBERSHIPS, LIFTS):
        monkeypatch.setattr(registry, "_kinds", dict(registry._kinds))
    OPERATOR_KINDS.register("diagonal", Diagonal)
    REPRESENTATIONS.register("diagonal", DiagonalOperator)
    MEMBERSHIPS.register("power law", PowerLaw)
    LIFTS.register("SlopeLift", SlopeLift)


X, LABELS = datasets.sinusoids(per_class=20, length=16)
X = X.double()
OPTIONS = [
    pytest.param({"operators": "diagonal"}, id="operators"),
    pytest.param({"membership": PowerLaw(4.0)}, id="membership"),
    pytest.param({"lift": SlopeLift([1, 2, 5])}, id="lift"),
    pytest.param(
        {"operators": Diagonal(), "membership": PowerLaw(), "lift": SlopeLift([1, 2, 5])}, id="all"
    ),
]


@pytest.fixture(params=OPTIONS)
def net(request):
    return ReduNet.construct(X, LABELS, num_layers=3, **request.param)


def test_operators_and_rates_are_those_of_the_definition():
    net = ReduNet.construct(X, LABELS, num_layers=1, operators="diagonal", lift=SlopeLift([1, 3]))
    (V,) = net.encode(X)
    U = V / net.spectrum.weights.sqrt()[:, None, None]  # (F, m, C), the unscaled spectrum
    alphas = net.feature_shape[0] / (20 * net.settings.eps_sq)  # every class has 20 samples
    rate = 0.0
    for j, label in enumerate(net.classes_):
        power = U[:, np.asarray(LABELS) == label].abs().square().sum(1)  # (F, C)
        gains = alphas / (1 + alphas * power)
        torch.testing.assert_close(net.layers[0].operators.compression.gains[:, j].data, gains)
        log_dets = (1 + alphas * power).log().sum(1)
        rate += (net.spectrum.weights * log_dets).sum() / len(net.classes_) / 2 / 16
    np.testing.assert_allclose(net.history.compression[0], rate)
    Z = net.spectrum.inverse(V)
    expansion = rate_reduction(Z, LABELS, net.settings.eps_sq).expansion
    np.testing.assert_allclose(net.history.expansion[0], expansion)
    norms = squared_norms(net.layers[0].operators.respond(V), dim=0).sqrt()
    torch.testing.assert_close(net.layers[0].residual_norms(V), norms)


def test_forward_and_membership(net):
    Z, membership = net(X), net.membership(X)
    torch.testing.assert_close(Z.flatten(1).norm(dim=1), torch.ones(len(X), dtype=X.dtype))
    torch.testing.assert_close(membership.sum(1), torch.ones(len(X), dtype=X.dtype))
    shifted = X.roll(5, -1)
    torch.testing.assert_close(net(shifted), Z.roll(5, -1), rtol=0, atol=1e-10)
    torch.testing.assert_close(net.membership(shifted), membership, rtol=0, atol=1e-10)
    expected = net.layers[-1].assign(net.residual_norms(X))
    torch.testing.assert_close(membership, expected)


def test_batches_and_a_checkpoint_give_the_same_network(tmp_path):
    options = {"operators": "diagonal", "membership": PowerLaw(), "lift": SlopeLift([1, 2])}
    whole = ReduNet.construct(X, LABELS, num_layers=4, **options)
    options |= {"batch_size": 7, "checkpoint": tmp_path}
    ReduNet.construct(X, LABELS, num_layers=2, **options)
    parts = ReduNet.construct(X, LABELS, num_layers=4, **options)
    torch.testing.assert_close(parts(X), whole(X), rtol=0, atol=1e-10)


def test_looking_inside(net):
    explanation = explain(net, X[0])
    assert "prediction" in str(explanation)
    assert description(net)["operators"] == net.layers[0].operators.description
    plot_eigenvalues(net)


def test_a_report_of_all_new_kinds_is_written(tmp_path):
    kinds = {"operators": Diagonal(), "membership": PowerLaw(), "lift": SlopeLift([1, 2, 5])}
    net = ReduNet.construct(X, LABELS, num_layers=2, **kinds)
    report(net, X, LABELS, tmp_path / "report.html", worst=1)
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_a_diagonal_network_says_so():
    net = ReduNet.construct(X, LABELS, num_layers=1, operators="diagonal", lift=SlopeLift([1]))
    assert net.layers[0].operators.description == "diagonal"
    assert str(net.settings.operators) == "Diagonal()"


def test_files_hold_it(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(twin(X), net(X))
    assert torch.equal(twin.membership(X), net.membership(X))
    assert twin.settings == net.settings
    assert repr(twin) == repr(net)


def test_unregistered_kinds_are_refused_in_files(net, tmp_path):
    for registry in (OPERATOR_KINDS, REPRESENTATIONS, MEMBERSHIPS):
        registry._kinds.pop("diagonal", None), registry._kinds.pop("power law", None)
    kinds = {type(net.settings.operators), type(net.settings.membership)}
    if kinds & {Diagonal, PowerLaw}:
        with pytest.raises(ValueError, match="is not registered as a kind of"):
            net.save(tmp_path / "net.safetensors")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head", ["linear", "residual"])
def test_fine_tuning_trains_it(net, head):
    tuned = finetune(net, X, LABELS, epochs=2, head=head, validation=None)
    before, after = net.layers[0].state_dict(), tuned.net.layers[0].state_dict()
    assert all(
        not torch.equal(before[name], after[name])
        for name, _ in net.layers[0].operators.named_parameters(prefix="operators")
    )
    assert tuned.history.loss[1] < tuned.history.loss[0]


def test_exported_graphs_are_equal(net, tmp_path):
    tolerances = {"features": 1e-10, "membership": 1e-10}
    assert_graph_equals(net, tmp_path / "net.pt2", X[:1], X[:9], **tolerances)


class Unnamed(DiagonalOperator):
    """The constructor does not take the tensors under their names."""

    def __init__(self, factors):
        super().__init__(factors)


def test_a_network_that_could_not_be_read_back_is_not_saved(tmp_path):
    REPRESENTATIONS.register("unnamed", Unnamed)
    net = ReduNet.construct(X, LABELS, num_layers=1, operators="diagonal")
    operators = net.layers[0].operators
    operators.compression = Unnamed(operators.compression.gains.data)
    with pytest.raises(TypeError, match=r"could not be read back from a file: .*gains"):
        net.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_mistakes_in_kinds_are_found_when_they_are_registered():
    class Plain(Membership):
        def __call__(self, residual_norms, proportions):
            return residual_norms

    with pytest.raises(TypeError, match="Plain must be a dataclass: add @dataclass"):
        MEMBERSHIPS.register("plain", Plain)
    with pytest.raises(ValueError, match="'softmax' is a kind of the package"):
        MEMBERSHIPS.register("softmax", PowerLaw)


class Stateless(Lift):
    """A lift without a constructor."""

    def forward(self, X):
        return torch.cat([X, X.abs()], 1)


class Forgetful(Lift):
    """A lift that does not keep its argument."""

    def __init__(self, power):
        super().__init__()

    def forward(self, X):
        return torch.cat([X, X.abs()], 1)


def test_lifts_with_and_without_arguments(tmp_path):
    LIFTS.register("Stateless", Stateless)
    LIFTS.register("Forgetful", Forgetful)
    net = ReduNet.construct(X, LABELS, num_layers=1, lift=Stateless())
    assert "Stateless()" in repr(net)
    net.save(tmp_path / "net.safetensors")
    assert torch.equal(ReduNet.load(tmp_path / "net.safetensors")(X), net(X))
    net = ReduNet.construct(X, LABELS, num_layers=1, lift=Forgetful(2))
    assert "Forgetful" in repr(net)
    with pytest.raises(
        TypeError, match=r"Forgetful must store its argument 'power' as an attribut"
    ):
        net.save(tmp_path / "other.safetensors")


def test_a_lift_that_does_not_fit_the_file_is_refused(tmp_path):
    LIFTS._kinds.pop("SlopeLift")
    net = ReduNet.construct(X, LABELS, num_layers=1, lift=SlopeLift([1]))
    net.save(tmp_path / "net.safetensors")
    twin = ReduNet.load(tmp_path / "net.safetensors", lift=SlopeLift([1]))
    assert torch.equal(twin(X), net(X))
    with pytest.raises(ValueError, match=r"features of shape \(9, 16\), but the network takes"):
        ReduNet.load(tmp_path / "net.safetensors", lift=SlopeLift([1, 2]))
