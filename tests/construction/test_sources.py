import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from redunet import RandomCirculantLift, ReduNet

OPTIONS = {"num_layers": 3, "eps_sq": 0.2}
X = torch.randn(13, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(13) % 3


class Named(Dataset):
    """Samples with labels that are words."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], "abc"[LABELS[index]]


class Endless(IterableDataset):
    """Samples that can only be read in order."""

    def __iter__(self):
        return zip(X, LABELS.tolist(), strict=True)


def assert_same(net, expected):
    torch.testing.assert_close(net(X), expected(X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.history.delta, expected.history.delta, rtol=1e-10)


@pytest.mark.parametrize(
    "data",
    [
        TensorDataset(X, LABELS),
        DataLoader(TensorDataset(X, LABELS), batch_size=5),
        DataLoader(
            TensorDataset(X, LABELS),
            batch_size=4,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        ),
        Named(),
        Endless(),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_streams_make_the_network_of_the_arrays(data, on_disk, tmp_path):
    options = {**OPTIONS, "momentum": 0.5, "batch_size": 4}
    workdir = tmp_path if on_disk else None
    net = ReduNet.construct(data, **options, workdir=workdir)
    expected = ReduNet.construct(X, LABELS, **options)
    assert_same(net, expected)
    assert net.classes_.tolist() == (list("abc") if isinstance(data, Named) else [0, 1, 2])
    assert list(tmp_path.iterdir()) == []


def test_workdir_for_arrays_is_left_empty_even_by_errors(tmp_path):
    lift = RandomCirculantLift(in_channels=2, out_channels=5, kernel_size=3, ndim=1)
    options = {**OPTIONS, "lift": lift, "batch_size": 3}
    net = ReduNet.construct(X, LABELS, **options, workdir=tmp_path)
    assert_same(net, ReduNet.construct(X, LABELS, **options))
    bad = X.clone()
    bad[9] = torch.inf
    with pytest.raises(ValueError, match="must be finite"):
        ReduNet.construct(TensorDataset(bad, LABELS), **options, workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("validation", [TensorDataset(X[:7], LABELS[:7]), (X[:7], LABELS[:7])])
def test_validation_samples_may_be_a_stream(validation):
    net = ReduNet.construct(X, LABELS, **OPTIONS, validation=validation, batch_size=3)
    expected = ReduNet.construct(X, LABELS, **OPTIONS, validation=(X[:7], LABELS[:7]))
    np.testing.assert_allclose(
        net.history.validation.delta, expected.history.validation.delta, rtol=1e-10
    )


def test_labels_come_from_one_place():
    with pytest.raises(ValueError, match="labels are missing: only a Dataset or DataLoader X"):
        ReduNet.construct(X, **OPTIONS)
    with pytest.raises(ValueError, match="X is a TensorDataset, which has its own labels"):
        ReduNet.construct(TensorDataset(X, LABELS), LABELS, **OPTIONS)


def test_errors_of_a_stream_say_where():
    bad = X.clone()
    bad[6, 1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"X\[4:8\] must be finite: 1 of 48 .* in sample 2 at"):
        ReduNet.construct(TensorDataset(bad, LABELS), **OPTIONS, batch_size=4)
