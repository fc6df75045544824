"""Accuracies on original and on shifted digits, for Tables 14 and 15 and those of the slides."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.paper_tables.cells import Results, Settings, Values, groups, markdown, spread
from benchmarks.paper_tables.digits import Samples
from redunet import NearestSubspaceClassifier, ReduNet
from redunet.datasets import all_shifts

COLUMNS = ("training", "test", "invariance training", "invariance test")
MEMBERSHIP = "membership, test and all shifts"


# The four printed numbers of a row, and four reference values or None.
Printed = tuple[tuple[float, ...], tuple[object, ...]]


def accuracies(net: ReduNet, train: Samples, test: Samples, stride: int) -> Values:
    """The four rows of Tables 14 and 15, and the accuracy of the memberships.

    The features of a shifted digit are the shifted features of the digit. So the network computes
    the features of originals only. Its memberships do not depend on shifts.
    """
    Z, Z_test = features(net, train[0]), features(net, test[0])
    values = of_features((Z, train[1]), (Z_test, test[1]), stride)
    values[MEMBERSHIP] = float((net.predict(test[0]) == test[1].numpy()).mean())
    return values


def of_features(train: Samples, test: Samples, stride: int) -> Values:
    """The four rows from features. For invariance, subspaces of shifted training features."""
    originals = NearestSubspaceClassifier(10).fit(*train)
    shifts = shifted(train, stride)
    seen = NearestSubspaceClassifier(10).fit(*shifts)
    measured = (
        *(originals.score(*train), originals.score(*test)),
        *(seen.score(*shifts), seen.score(*shifted(test, stride))),
    )
    return dict(zip(COLUMNS, measured, strict=True))


def features(net: ReduNet, X: Tensor, batch_size: int = 100) -> Tensor:
    """Features on the processor, computed in small batches because of their many channels."""
    return torch.cat([net(part).cpu() for part in X.split(batch_size)])


def shifted(samples: Samples, stride: int) -> Samples:
    """All cyclic shifts of each sample by multiples of the stride."""
    X, labels = samples
    shifts = all_shifts(X, stride)
    return shifts.flatten(0, 1), labels.repeat_interleave(shifts.shape[1])


def shown_by_channels(
    printed: Mapping[int, Printed], cells: Sequence[Settings], results: Results
) -> str:
    """Means and standard deviations over the seeds of the kernels, beside the printed rows."""
    rows = []
    for (channels,), found in groups(cells, "channels").items():
        paper, reference = printed[channels]
        rows.append([str(channels), "paper", *paper, None])
        if any(reference):
            rows.append([str(channels), "reference", *reference, None])
        for (as_authors,), seeds in groups(found, "as_authors").items():
            ours = (spread(seeds, results, name) for name in (*COLUMNS, MEMBERSHIP))
            name = "ours, as the authors' code" if as_authors else "ours"
            rows.append([str(channels), name, *ours])
    return markdown(rows, ["channels", "", *COLUMNS, MEMBERSHIP])
