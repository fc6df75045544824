import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import TensorDataset

from redunet import (
    Band,
    ExpansionRegression,
    MultiScaleLift,
    RandomCirculantLift,
    ReduNet,
    Search,
    ShortTimeFourierLift,
    Standardize,
    datasets,
)
from redunet.search import automatic_bands, automatic_lifts
from tests.exported import assert_graph_equals
from tests.samples import samples


def series(m, seed=0, channels=2, length=12, dtype=torch.float64):
    """Classes differ in the period of a wave, whose phase is random."""
    X = 0.3 * samples(m, channels, length, seed=seed)
    random = np.random.default_rng(seed)
    times = np.arange(length)[None] + random.integers(0, length, m)[:, None]
    labels = np.arange(m) % 3
    waves = np.cos(2 * np.pi * times * (labels[:, None] + 1) / length)
    return (X + torch.from_numpy(waves)[:, None]).to(dtype), labels


def lifts():
    return [
        nn.Sequential(Standardize(2), MultiScaleLift(2, 1, kernels_per_scale=4, kernel_size=3)),
        MultiScaleLift(2, 1, kernels_per_scale=9, nonlinearity="relu", dilations=(1,)),
    ]


def test_the_network_has_the_held_out_results():
    X, labels = series(24)
    search = Search(lifts(), bands=[1, 3]).fit(X, labels)
    right = 0
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    for i in range(24):
        rest = np.arange(24) != i
        alone = ReduNet.construct(X[rest], labels[rest], num_layers=1, **search.arguments)
        # α_j of the own class are those of all samples in the search.
        residuals = net.residual_norms(X[i : i + 1]) * net.layers[0].proportions
        own = alone.residual_norms(X[i : i + 1]) * alone.layers[0].proportions
        residuals = residuals / net.layers[0].alpha
        residuals[0, labels[i]] = (own / alone.layers[0].alpha)[0, labels[i]]
        right += int(residuals.argmin() == labels[i])
    assert abs(right / 24 - search.accuracy_) <= 1 / 24  # at ε² of 7 instead of 8 samples


def test_memberships_have_the_chosen_sharpness():
    X, labels = series(24)
    search = Search(lifts(), bands=[1, 3]).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    relative = net.residual_norms(X) * net.layers[0].proportions / net.layers[0].alpha
    expected = torch.softmax(-search.sharpness_ * relative, 1)
    torch.testing.assert_close(net.membership(X), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_call_gives_an_invariant_network(dtype):
    X, labels = series(60, dtype=dtype)
    net = ReduNet.construct(X[:30], labels[:30], lift="auto")
    assert len(net.layers) == 1
    assert net.layers[0].proportions.dtype == dtype
    assert (net.predict(X[30:]) == labels[30:]).mean() > 0.9
    shifted = X[30:].roll(5, -1)
    torch.testing.assert_close(
        net.membership(shifted), net.membership(X[30:]), rtol=1e-3, atol=1e-4
    )
    deeper = ReduNet.construct(X[:30], labels[:30], lift="auto", num_layers=3)
    assert len(deeper.layers) == 3
    assert deeper.history.delta[-1] > deeper.history.delta[0]


def test_images_and_vectors():
    X, labels = datasets.digits()
    chosen = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    train, test = chosen[:150], chosen[150:450]
    labels = labels.numpy()
    for samples_ in (X, X.flatten(1)):
        net = ReduNet.construct(samples_[train], labels[train], lift="auto")
        assert (net.predict(samples_[test]) == labels[test]).mean() > 0.87
    table, names = load_iris(return_X_y=True)
    net = ReduNet.construct(table[::2], names[::2], lift="auto")
    assert (net.predict(table[1::2]) == names[1::2]).mean() > 0.9


def test_all_settings_belong_to_the_search():
    X, labels = series(12)
    for options in (
        {"eps_sq": 0.1},
        {"lam": 3.0},
        {"membership": "rectified"},
        {"reader": ExpansionRegression()},
    ):
        with pytest.raises(ValueError, match=f'lift="auto" chooses {next(iter(options))} itself'):
            ReduNet.construct(X, labels, lift="auto", **options)
    with pytest.raises(ValueError, match='lift must be "auto", a torch module'):
        ReduNet.construct(X, labels, lift="best")


def test_candidates_of_ones_own_and_a_table_to_read():
    X, labels = series(30)
    own = RandomCirculantLift(2, 6, 5, 1)
    automatic = automatic_lifts((2, 12))
    search = Search([*automatic, own, ShortTimeFourierLift(3), None], bands=[2, None]).fit(
        X, labels
    )
    assert len(search.candidates_) == 2 * (len(automatic) + 3)
    losses = [candidate.loss for candidate in search.candidates_]
    assert losses == sorted(losses)
    assert search.best_ is search.candidates_[0]
    text = str(search)
    for name in ("MultiScaleLift, relu, differences", "RandomCirculantLift", "samples", "log loss"):
        assert name in text
    assert text.count("*") == 1
    for candidate in search.candidates_:
        assert candidate.losses.min() == pytest.approx(candidate.loss)
        assert candidate.eps_sq in candidate.precisions
    assert all(part.spreads.numel() == 0 for _, part in automatic)  # they are not fitted


def test_a_fixed_precision():
    X, labels = series(30)
    search = Search(lifts(), eps_sq=0.02).fit(X, labels)
    assert search.arguments["eps_sq"] == pytest.approx(0.02)
    assert all(len(candidate.losses) == 1 for candidate in search.candidates_)


def test_two_samples_of_a_class_get_the_default():
    X, labels = series(6)
    search = Search(lifts(), bands=[1, 2]).fit(X, labels)
    assert search.best_ is search.candidates_[1]
    assert search.best_.band == 2
    assert search.sharpness_ == 10
    assert np.isnan(search.loss_)
    assert search.best_.eps_sq == 0.1 / 5
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    assert (net.predict(X) == labels).all()


def test_single_samples_have_no_second_reader():
    X, labels = series(6)
    for m, has_reader in ((3, False), (4, True), (6, True)):
        search = Search().fit(X[:m], labels[:m])
        assert (search.reader_ is not None) == has_reader
        net = ReduNet.construct(X[:m], labels[:m], num_layers=1, **search.arguments)
        assert (net.predict(X[:m]) == labels[:m]).all()


def test_small_classes_beside_large_ones():
    X, labels = series(31)
    labels = np.where(np.arange(31) == 4, "one", labels.astype(str))
    search = Search(lifts(), bands=[1]).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    assert net.predict(X[4:5]) == ["one"]


def test_a_subset_decides_and_all_samples_refine():
    X, labels = series(90)
    whole = Search(lifts(), bands=[1]).fit(X, labels)
    part = Search(lifts(), bands=[1], most_samples=40).fit(X, labels, batch_size=7)
    assert part.best_.residuals.shape == (40, 3)
    # If lifts and bands are given, the operators are those of all samples.
    same = Search([None], bands=[None], most_samples=40).fit(X, labels)
    every = Search([None], bands=[None]).fit(X, labels)
    rows = [
        int((row - every.candidates_[0].residuals).abs().sum(1).argmin())
        for row in same.best_.residuals
    ]
    if same.best_.eps_sq == every.best_.eps_sq:
        torch.testing.assert_close(
            same.best_.residuals,
            every.best_.residuals[rows],
            rtol=1e-6,
            atol=1e-9,
        )
        assert len(set(rows)) == 40
    assert abs(part.accuracy_ - whole.accuracy_) < 0.15


def test_samples_of_a_data_set_are_read_in_batches():
    X, labels = series(30)
    data = TensorDataset(X, torch.from_numpy(labels))
    from_data = Search(lifts(), bands=[1]).fit(data, batch_size=4)
    from_array = Search(lifts(), bands=[1]).fit(X, labels)
    assert str(from_data) == str(from_array)
    net = ReduNet.construct(data, lift="auto", batch_size=8)
    assert (net.predict(X) == labels).all()


def test_networks_are_saved_and_loaded(tmp_path):
    X, labels = series(30)
    search = Search(lifts(), bands=[1, 2]).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=2, **search.arguments)
    net.save(tmp_path / "net.safetensors")
    again = ReduNet.load(tmp_path / "net.safetensors")
    assert torch.equal(again(X), net(X))
    assert torch.equal(again.membership(X), net.membership(X))
    assert again.settings == net.settings


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_networks_are_exported(format, tmp_path):
    X, labels = series(30, dtype=torch.float32)
    search = Search(automatic_lifts((2, 12)), bands=[2]).fit(X, labels)
    net = ReduNet.construct(X, labels, num_layers=1, **search.arguments)
    assert_graph_equals(net, tmp_path / f"net.{format}", X[:1], X, membership=1e-4)


def test_a_search_keeps_no_samples():
    X, labels = series(30)
    search = Search(lifts(), bands=[1]).fit(X, labels)
    kept = [v for v in vars(search).values() if isinstance(v, torch.Tensor)]
    assert all(t.numel() <= 3 for t in kept)


def test_progress_and_bad_labels(capsys):
    X, labels = series(12)
    Search(lifts(), bands=[1]).fit(X, labels, progress=True)
    assert "2/2" in capsys.readouterr().err
    with pytest.raises(ValueError, match="a search needs one label for each sample"):
        Search().fit(X, np.full((12, 3), 1 / 3))
    with pytest.raises(ValueError, match="at least two classes are needed"):
        Search().fit(X, np.zeros(12, int))
    with pytest.raises(ValueError, match="most_samples must be at least 1"):
        Search(most_samples=0)


def test_bands_suit_the_shape():
    assert automatic_bands((3,)) == [None]
    assert automatic_bands((3, 200)) == [0, 1, 2, 4, 8, 16, 32]
    assert automatic_bands((3, 24)) == [0, 1, 2, 4, 8, None]
    assert automatic_bands((3, 28, 28)) == [1, 2, 3, 4]
    assert automatic_bands((3, 8, 8)) == [1, 2, 3]
    assert automatic_bands((3, 1)) == [None]
    assert automatic_bands((3, 9, 9, 9)) == [1, 2]
    assert isinstance(Search([None], bands=[1]).fit(*series(12)).arguments["lift"][-1], Band)
