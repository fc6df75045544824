import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from redunet import RandomCirculantLift, ReduNet, Search

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


class Once(IterableDataset):
    """Pairs that can be read only once."""

    def __init__(self, length=13):
        self._pairs = iter(list(zip(X[:length], LABELS[:length].tolist(), strict=True)))

    def __iter__(self):
        return self._pairs


class Hidden(Once):
    """The same, but nobody can see it in advance."""

    def __iter__(self):
        yield from self._pairs


class Again(IterableDataset):
    """An iterator that begins again."""

    def __iter__(self):
        self._pairs = zip(X, LABELS.tolist(), strict=True)
        return self

    def __next__(self):
        return next(self._pairs)


ONCE = [
    Once,
    Hidden,
    lambda: DataLoader(Once(), batch_size=5),
    lambda: DataLoader(Hidden(), batch_size=4),
    lambda: DataLoader(Once(), batch_size=13),
    lambda: DataLoader(Once(), batch_size=1),
]


@pytest.mark.parametrize("make", ONCE)
def test_an_iterator_that_is_read_once_loses_nothing(make):
    options = {**OPTIONS, "batch_size": 4}
    net = ReduNet.construct(make(), **options, validation=make())
    expected = ReduNet.construct(X, LABELS, **options, validation=(X, LABELS))
    assert_same(net, expected)
    assert net.layers[0].alpha == expected.layers[0].alpha  # C/(mε²)
    np.testing.assert_allclose(net.history.validation.delta, expected.history.validation.delta)


@pytest.mark.parametrize("make", [Once, lambda: DataLoader(Once(), batch_size=5)])
@pytest.mark.parametrize("lift", ["auto", Search(bands=[1])])
def test_a_search_needs_samples_that_can_be_read_again(make, lift):
    with pytest.raises(ValueError, match="read only once, but a search reads them several times"):
        ReduNet.construct(make(), lift=lift)


def test_a_second_reading_must_give_the_same_samples():
    with pytest.raises(ValueError, match="X gave 13 samples when it was read first, and 0 when"):
        ReduNet.construct(Hidden(), lift="auto")
    with pytest.raises(ValueError, match="X gave 13 samples when it was read first, and 0 when"):
        Search([None], bands=[1], most_samples=8).fit(Hidden())
    search = Search([None], bands=[1]).fit(Once())  # all of them are compared, in one pass
    assert search.candidates_[0].residuals.shape == (13, 3)


@pytest.mark.parametrize("data", [Again(), DataLoader(Again(), batch_size=4), Endless()])
def test_a_search_on_a_stream_that_begins_again(data):
    options = {"lift": Search([None], bands=[1], most_samples=8), "num_layers": 2}
    assert_same(ReduNet.construct(data, **options), ReduNet.construct(X, LABELS, **options))


def shuffled(**options):
    return DataLoader(TensorDataset(X, LABELS), batch_size=5, shuffle=True, **options)


class Noisy(Dataset):
    """Samples with noise from torch's global random state."""

    def __len__(self):
        return 13

    def __getitem__(self, index):
        return X[index] + torch.rand(()), LABELS[index]


@pytest.mark.parametrize(
    "make",
    [shuffled, lambda: TensorDataset(X, LABELS), Endless, Noisy, lambda: DataLoader(Noisy(), 5)],
)
@pytest.mark.parametrize("lift", [None, Search([None], bands=[1], most_samples=8)])
def test_streams_leave_the_random_state_as_it_is(make, lift):
    before = torch.get_rng_state()
    ReduNet.construct(make(), num_layers=1, lift=lift, validation=make())
    assert torch.equal(torch.get_rng_state(), before)


def test_every_sample_has_its_own_noise():
    class Recorded(Noisy):
        def __getitem__(self, index):
            numbers.append(torch.rand(()).item())
            return X[index], LABELS[index]

    for make in (Recorded, lambda: DataLoader(Recorded(), batch_size=5)):
        numbers = []
        ReduNet.construct(make(), num_layers=1)
        assert len(set(numbers)) == len(numbers) == 13


PAIRS = "must give pairs of samples and labels, got "
BAD = [
    ([{"image": X[0], "label": 1}] * 4, f"{PAIRS}dictionaries with the keys image, label. Let"),
    ([(X[0], 1, 0)] * 4, f"{PAIRS}batches of 3 parts: Tensor, Tensor, Tensor. Let __getitem__"),
    ([(X[0], 1, "a", 2)] * 4, f"{PAIRS}batches of 4 parts: Tensor, Tensor, tuple, …"),
    ([X[0]] * 4, f"{PAIRS}samples without labels"),
    ([(X[0],)] * 4, f"{PAIRS}samples without labels"),
    ([3.0] * 4, "X must have shape|must give pairs"),
    (["text"] * 4, PAIRS),
    ([(X[0], None)] * 4, "do not form a batch.*NoneType"),
    ([(X[0], 0), (X[0, :1], 1)] * 2, "do not form a batch"),
    ([(object(), 0)] * 4, "do not form a batch.*object"),
    ([(X[0], {"label": 1})] * 4, "labels of shape .*: there must be one label for each"),
    ([(X[0], [[1, 2], [3, 4]])] * 4, "there must be one label for each"),
    ([((X[0], X[0]), 0)] * 4, f"{PAIRS}batches of 2 parts: list, Tensor"),
]


class Listed(Dataset):
    def __init__(self, elements):
        self._elements = elements

    def __len__(self):
        return len(self._elements)

    def __getitem__(self, index):
        return self._elements[index]


class Streamed(IterableDataset):
    def __init__(self, elements):
        self._elements = elements

    def __iter__(self):
        return iter(self._elements)


@pytest.mark.parametrize(("elements", "message"), BAD)
@pytest.mark.parametrize("make", [Listed, Streamed, lambda e: DataLoader(Listed(e), batch_size=4)])
def test_other_elements_are_refused_by_name(make, elements, message):
    if isinstance(make, type(lambda: 0)) and "form a batch" in message:
        message = "."  # the loader of the user speaks
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        ReduNet.construct(make(elements), num_layers=1)


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (list, f"{PAIRS}batches of 4 parts: tuple, tuple, tuple, …"),
        (lambda batch: batch[:2], f"{PAIRS}batches of 2 parts: tuple, tuple"),
        (
            lambda batch: (X[:4], LABELS[:3]),
            r"X\[0:4\] has samples .* and labels of shape \(3,\)",
        ),
        (lambda batch: (X[:4], None), "there must be one label for each sample"),
        (lambda batch: (X[:0], LABELS[:0]), r"X\[0:0\] has no values"),
        (lambda batch: None, f"{PAIRS}batches of 1 parts: NoneType"),
    ],
)
def test_other_batches_of_a_loader_are_refused_by_name(collate, message):
    loader = DataLoader(TensorDataset(X, LABELS), batch_size=4, collate_fn=collate)
    with pytest.raises((TypeError, ValueError), match=message):
        ReduNet.construct(loader, num_layers=1)


def test_a_loader_without_batches_is_refused_by_name():
    loader = DataLoader(TensorDataset(X, LABELS), batch_size=None)
    with pytest.raises(ValueError, match=r"labels of shape \(\)"):
        ReduNet.construct(loader, num_layers=1)


@pytest.mark.parametrize(
    "data",
    [
        Listed([]),
        Streamed([]),
        TensorDataset(X[:0], LABELS[:0]),
        DataLoader(TensorDataset(X[:0], LABELS[:0]), batch_size=4),
        DataLoader(TensorDataset(X, LABELS), batch_size=20, drop_last=True),
        DataLoader(Streamed([])),
    ],
)
@pytest.mark.parametrize("lift", [None, "auto"])
def test_empty_streams_are_refused_by_name(data, lift):
    with pytest.raises(ValueError, match=r"^X has no samples: it is empty"):
        ReduNet.construct(data, num_layers=1, lift=lift)
    with pytest.raises(ValueError, match=r"^validation X has no samples"):
        ReduNet.construct(X, LABELS, num_layers=1, validation=data)


@pytest.mark.parametrize(
    "collate",
    [
        lambda batch: ([x for x, _ in batch], [y.item() for _, y in batch]),
        lambda batch: [torch.stack([x for x, _ in batch]), np.array([y.item() for _, y in batch])],
        lambda batch: (
            np.stack([x.numpy() for x, _ in batch]),
            tuple("abc"[y.item()] for _, y in batch),
        ),
        lambda batch: (
            torch.stack([x for x, _ in batch]),
            torch.eye(3)[torch.stack([y for _, y in batch])],
        ),
    ],
)
def test_labels_may_be_lists_texts_and_memberships(collate):
    loader = DataLoader(TensorDataset(X, LABELS), batch_size=4, collate_fn=collate)
    if isinstance(next(iter(loader))[0], list):
        with pytest.raises(TypeError, match="batches of 2 parts: list, list"):
            ReduNet.construct(loader, **OPTIONS)
        return
    assert_same(ReduNet.construct(loader, **OPTIONS), ReduNet.construct(X, LABELS, **OPTIONS))


@pytest.mark.parametrize(
    "data", [TensorDataset(X), Listed(list(X)), DataLoader(TensorDataset(X), batch_size=4)]
)
def test_samples_without_labels_need_none_if_no_label_is_known(data):
    options = {"num_classes": 2, "num_layers": 1, "batch_size": 4}
    net = ReduNet.construct(data, **options)
    expected = ReduNet.construct(X, **options)
    assert_same(net, expected)
    assert net.transduction_.tolist() == expected.transduction_.tolist()
