"""The benchmark of the papers' tables: its cells, their file, and what each table computes."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from benchmarks.paper_tables import __main__ as program
from benchmarks.paper_tables import (
    authors,
    clustering,
    digits,
    invariance,
    slides,
    table_4,
    table_15,
    table_18,
    training,
)
from benchmarks.paper_tables.cells import Machine, Results, Table, fill, selected, spread
from redunet import NearestSubspaceClassifier, OLELoss, RandomCirculantLift, ReduNet, datasets
from tests.paper_files import write_cifar10

MACHINE = Machine(None, torch.device("cpu"))
CELLS = [{"table": "made up", "size": size, "seed": seed} for size in (1, 2) for seed in (0, 1)]


def made_up(compute):
    def show(cells, results):
        return spread(cells, results, "double")

    return Table("a made-up table", "", 0, CELLS, compute, show, {})


def double(settings, machine):
    return {"double": 2.0 * settings["size"]}


def interrupted(settings, machine):
    if settings == CELLS[2]:
        raise KeyboardInterrupt
    return double(settings, machine)


def run(*arguments):
    with torch.no_grad():
        program.main([str(x) for x in arguments])


@pytest.mark.parametrize("name", program.TABLES)
def test_the_first_row_of_a_table_is_computed_once(name, tmp_path, capsys, monkeypatch):
    file = tmp_path / "cells.jsonl"
    run("--table", name, "--trial", "--results", file)
    shown = capsys.readouterr().out
    table = program.TABLES[name]
    assert table.title in shown
    (line,) = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert line["settings"] == table.cells[0] | table.trial
    assert all(np.isfinite(value) for value in line["values"].values())

    def fail(settings, machine):
        raise AssertionError("computed again")

    monkeypatch.setitem(program.TABLES, name, table._replace(compute=fail))
    run("--table", name, "--trial", "--results", file)
    again = capsys.readouterr()
    assert "1 of 1 cells are known" in again.err
    rows = [row for row in shown.splitlines() if row.startswith("|")]
    assert rows == [row for row in again.out.splitlines() if row.startswith("|")]


def test_the_list_has_the_time_of_every_table(capsys):
    run()
    shown = capsys.readouterr().out
    for name, table in program.TABLES.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert line.endswith(f" {table.minutes:g}")
        assert 0 < table.minutes < 120


def test_finished_cells_can_be_shown_without_computing(tmp_path, capsys):
    file = tmp_path / "cells.jsonl"
    run("--table", "4", "--only", "d=128", "--only", "d_j=1,2", "--results", file)
    capsys.readouterr()
    run("--table", "4", "--show", "--results", file)
    rows = [row for row in capsys.readouterr().out.splitlines() if row.startswith("| orth")]
    assert [row.split("|")[1].strip()[-7:] for row in rows] == ["d_j = 2", "d_j = 1"]


def test_cells_of_one_table_differ():
    for table in program.TABLES.values():
        assert len({json.dumps(settings) for settings in table.cells}) == len(table.cells)


def test_an_interrupted_table_is_resumed(tmp_path):
    file = tmp_path / "cells.jsonl"
    with pytest.raises(KeyboardInterrupt):
        fill("m", made_up(interrupted), CELLS, Results(file), MACHINE)
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    computed = []

    def count(settings, machine):
        computed.append(settings)
        return double(settings, machine)

    results = Results(file)
    fill("m", made_up(count), CELLS, results, MACHINE)
    assert computed == CELLS[2:]
    assert [Results(file).get(settings) for settings in CELLS] == [
        {"double": 2.0 * settings["size"]} for settings in CELLS
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["cells.jsonl"]


def test_two_processes_keep_the_cells_of_each_other(tmp_path):
    file = tmp_path / "cells.jsonl"
    one, other = Results(file), Results(file)
    one.put(CELLS[0], {"double": 2.0}, 1.0)
    other.put(CELLS[1], {"double": 2.0}, 2.0)
    assert Results(file).seconds(CELLS) == 3.0


def test_results_need_no_file():
    results = Results()
    fill("m", made_up(double), CELLS[:1], results, MACHINE)
    assert results.get(CELLS[0]) == {"double": 2.0}
    assert results.get(CELLS[1]) is None


@pytest.mark.parametrize("text", ["{", "[1]", '{"settings": {}}'])
def test_a_file_of_something_else(tmp_path, text):
    file = tmp_path / "cells.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 1 of .* must be the result of a cell"):
        Results(file)


def test_cells_are_selected_by_their_settings():
    assert selected(CELLS, []) == CELLS
    assert selected(CELLS, ["size=2", "seed=1,0"]) == CELLS[2:]
    for text in ("width=1", "size"):
        with pytest.raises(ValueError, match=f"one of the names seed, size, table, got '{text}'"):
            selected(CELLS, [text])


def test_the_spread_is_the_standard_deviation():
    results = Results()
    for settings, value in zip(CELLS, (1.0, 2.0, 3.0, 6.0), strict=True):
        results.put(settings, {"x": value}, 0)
    assert spread(CELLS, results, "x", 2) == "3.00 ± 2.16"
    assert spread(CELLS[:1], results, "x", 2) == "1.00"
    assert spread(CELLS, results, "y") == "–"


@pytest.mark.parametrize("kind", table_4.BASES)
def test_bases_of_simulated_subspaces(kind):
    bases = table_4.BASES[kind](np.random.default_rng(0), 40, 4)
    gram = bases.swapaxes(1, 2) @ bases
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(4), (10, 4, 4)), atol=1e-12)
    across = np.abs(np.einsum("jdr,kds->jkrs", bases, bases)[~np.eye(10, dtype=bool)])
    if kind == "orthogonal":
        assert across.max() < 1e-12
    elif kind == "overlapping":  # vectors of two bases are the same or orthogonal
        assert np.minimum(across, np.abs(across - 1)).max() < 1e-12
        assert across.max() > 0.5
    else:
        assert 0.1 < across.max() < 1 - 1e-6


def test_simulated_samples_lie_in_the_subspace_of_their_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 30)
    bases = table_4.independent(rng, 12, 3)
    Z = table_4.simulated(rng, labels, 12, bases)
    inside = np.einsum("mdr,md->mr", bases[labels], Z)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(inside, axis=1), 1)


def test_accuracies_on_shifts_are_those_of_shifted_samples():
    X, labels = (t[:60] for t in datasets.digits())
    train, test = (X[:40].double(), labels[:40]), (X[40:].double(), labels[40:])
    lift = RandomCirculantLift(1, 3, 3, ndim=2).double()
    net = ReduNet.construct(*train, num_layers=2, eta=0.5, eps_sq=0.1, lift=lift)
    values = invariance.accuracies(net, train, test, 4)
    seen, tested = (invariance.shifted(samples, 4) for samples in (train, test))
    assert len(tested[0]) == 4 * 20
    classifier = NearestSubspaceClassifier(10).fit(net(seen[0]), seen[1])
    assert values["invariance training"] == classifier.score(net(seen[0]), seen[1])
    assert values["invariance test"] == classifier.score(net(tested[0]), tested[1])
    membership = (net.predict(tested[0]) == tested[1].numpy()).mean()
    assert values[invariance.MEMBERSHIP] == pytest.approx(membership)


@pytest.mark.parametrize("split", ["train", "test"])
def test_tables_read_cifar_10_as_the_examples_do(split, tmp_path, imported):
    write_cifar10(tmp_path)
    found = digits.split("CIFAR-10", split, str(tmp_path))
    expected = imported("natural_images").cifar10(split, str(tmp_path))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_first_layer_of_large_samples_is_one_of_small_precision():
    X, labels = (t[:60] for t in datasets.digits())
    Z = RandomCirculantLift(1, 3, 3, ndim=2).double()(X.double())
    norm = 40.0
    Z *= norm / Z.flatten(1).norm(dim=1)[:, None, None, None]
    train, test = (Z[:40], labels[:40]), (Z[40:], labels[40:])
    seen, new = authors.after_first_layer(train, test, eta=0.5, eps_sq=0.1)
    settings = {"eta": 0.5 / norm**2, "eps_sq": 0.1 / norm**2, "lam": authors.LAM / norm}
    net = ReduNet.construct(*train, num_layers=1, **settings)
    for found, samples in ((seen, train), (new, test)):
        torch.testing.assert_close(found[0], net(samples[0]), rtol=0, atol=1e-10)


def test_polar_pixels_are_half_a_row_of_rotated_images():
    X = datasets.digits()[0][:3]
    pixels = authors.polar_pixels(X, 5)  # 0, 90, …, 360 degrees
    assert pixels.shape == (3, 5, 5)
    bytes_of = (255 * X[:, 0]).round()
    torch.testing.assert_close(pixels[:, :, 0], bytes_of[:, 4, :5])
    torch.testing.assert_close(pixels[:, :, 2], bytes_of.flip(1, 2)[:, 4, :5])


def test_features_and_classes_of_one_pass():
    X, labels = datasets.digits()
    X = X.flatten(1)
    net = ReduNet.construct(X[:60], labels[:60] + 3, num_layers=3, eta=0.5, eps_sq=0.5)
    Z, predicted = table_18.features_and_classes(net, X)
    torch.testing.assert_close(Z, net(X))
    assert predicted.tolist() == net.predict(X).tolist()


def test_a_network_in_parts_is_the_deep_network(monkeypatch):
    X, labels = datasets.digits()
    train = X[:30, 0].double(), labels[:30] % 2
    settings = slides.ROTATIONS.cells[0] | {"layers": 5, "seconds": 60}
    monkeypatch.setattr(slides, "PART", 2)
    monkeypatch.setattr(slides, "GAIN", 0)
    deep = slides.constructed(train, [X[30:40, 0].double()], None, settings, MACHINE)
    net = ReduNet.construct(*train, num_layers=5, eta=0.5, eps_sq=0.1)
    assert deep.layers == 5
    torch.testing.assert_close(deep.features[0], net(train[0]))
    torch.testing.assert_close(deep.features[1], net(X[30:40, 0].double()))
    assert deep.rate == pytest.approx(net.history.delta[-1])


def test_a_network_in_parts_stops_when_the_rate_does_not_rise(monkeypatch):
    X, labels = (t[:30] for t in datasets.digits())
    monkeypatch.setattr(slides, "PART", 2)
    monkeypatch.setattr(slides, "GAIN", 1e3)
    settings = slides.ROTATIONS.cells[0]
    assert slides.constructed((X[:, 0], labels % 2), [], None, settings, MACHINE).layers == 2
    settings = settings | {"seconds": 0}
    assert slides.constructed((X[:, 0], labels % 2), [], None, settings, MACHINE).layers == 0


def test_the_nearest_training_features_vote():
    Z = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 1])
    test = torch.tensor([[3.0, 1.0], [0.1, 5.0]]), torch.tensor([0, 1])
    assert table_15.nearest((Z, labels), test, 1) == 1.0
    assert table_15.nearest((Z, labels), test, 3) == 0.5


def test_the_loss_of_logits_is_cross_entropy_and_ole():
    torch.manual_seed(0)
    Z = torch.nn.functional.normalize(torch.randn(20, training.DIM), dim=1)
    labels = torch.arange(20) % 10
    loss = training.Logits(0.5)
    entropy = -loss.classifier(Z).log_softmax(1)[torch.arange(20), labels].mean()
    expected = entropy + 0.5 * OLELoss()(Z, labels) / 20
    torch.testing.assert_close(loss(Z, labels), expected)
    loss.ole_weight = 0.0
    torch.testing.assert_close(loss(Z, labels), entropy)


@pytest.mark.parametrize("tau", [0.5, 0.95, 1.0])
def test_coefficients_satisfy_the_optimality_conditions_of_the_elastic_net(tau):
    rng = np.random.default_rng(0)
    Z, gamma = rng.standard_normal((12, 6)), 5.0
    codes = clustering.coefficients(Z, tau, gamma)
    samples = normalize(Z)
    similarity = np.abs(samples @ samples.T) - np.eye(12)
    assert np.all(codes.diagonal() == 0)
    for i, code in enumerate(codes):
        scale = gamma * tau / similarity[i].max()
        slope = scale * samples @ (samples[i] - samples.T @ code) - (1 - tau) * code
        others = np.arange(12) != i
        active = others & (code != 0)
        np.testing.assert_allclose(slope[active], tau * np.sign(code[active]), rtol=0.02)
        assert np.all(np.abs(slope[others]) <= tau * 1.02)
        assert active.any()


def test_the_affinity_is_the_regression_on_all_others():
    Z = np.random.default_rng(0).normal(size=(30, 5))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    expected = np.zeros((30, 30))
    for i in range(30):
        others = np.delete(np.arange(30), i)
        expected[others, i] = Ridge(0.1, fit_intercept=False).fit(Z[others].T, Z[i]).coef_
    expected = np.abs(expected)
    found = clustering.subspace_affinity(Z)
    np.testing.assert_allclose(found, expected + expected.T, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", clustering.METHODS)
def test_methods_find_nearly_orthogonal_subspaces(name):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 12)
    Z = 0.02 * rng.standard_normal((120, 30))
    for j in range(10):
        Z[labels == j, 3 * j : 3 * j + 3] += rng.standard_normal((12, 3)) + 3
    nmi, acc, ari = clustering.scores(torch.tensor(labels), clustering.METHODS[name](Z, 0))
    assert (nmi, acc, ari) == pytest.approx((1, 1, 1))


def test_distorted_digits_are_near_the_originals():
    torch.manual_seed(0)
    X = datasets.digits()[0][:40]
    cosine = torch.nn.functional.cosine_similarity
    distorted = clustering.distorted(X)
    assert distorted.shape == X.shape
    same = cosine(distorted.flatten(1), X.flatten(1))
    assert 0.6 < same.mean() < 0.99
