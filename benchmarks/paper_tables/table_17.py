"""Table 17: lifted MNIST as vectors."""

from collections.abc import Sequence

import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from benchmarks.paper_tables.cells import (
    Machine,
    Results,
    Settings,
    Table,
    Values,
    groups,
    markdown,
    spread,
)
from benchmarks.paper_tables.digits import Samples, first, split
from redunet import NearestSubspaceClassifier, RandomCirculantLift, ReduNet, ScatteringLift

METHODS = ("random filters + ReduNet", "scattering + linear SVM", "scattering + ReduNet")

# J, angles: n, layers, the printed accuracies of the three methods, and reference values.
PRINTED = {
    (3, 4): (441, 150, (0.9225, 0.9795, 0.9734), (None, 0.9745, 0.9765)),
    (3, 8): (873, 100, (0.9153, 0.9839, 0.9781), (None,) * 3),
    (3, 16): (1737, 50, (0.9061, 0.9859, 0.9795), (None,) * 3),
    (4, 4): (65, 400, (0.8794, 0.8829, 0.8952), (None,) * 3),
    (4, 8): (129, 300, (0.9172, 0.9205, 0.9392), (None, 0.9225, 0.9385)),
    (4, 16): (257, 200, (0.8794, 0.9337, 0.9569), (None,) * 3),
}


def compute(settings: Settings, machine: Machine) -> Values:
    """Test accuracy of one method on lifted digits."""
    train = first(split(settings["data"], "train", machine.data_dir), settings["per_class"])
    test = split(settings["data"], "test", machine.data_dir)
    lift = lift_of(settings, train[0].shape[-1])
    train, test = (lifted(samples, lift) for samples in (train, test))
    if settings["method"] == "scattering + linear SVM":
        svm = make_pipeline(StandardScaler(), LinearSVC()).fit(train[0].numpy(), train[1])
        return {"test": svm.score(test[0].numpy(), test[1])}
    net = ReduNet.construct(
        *train, num_layers=settings["layers"], eta=0.1, eps_sq=0.1, device=machine.device
    )
    classifier = NearestSubspaceClassifier(10).fit(net(train[0]), train[1])
    return {"test": classifier.score(net(test[0]), test[1])}


def lift_of(settings: Settings, side: int) -> nn.Module:
    """The lift of a method.

    The paper does not say how its random filters give the same n as the wavelets. Here the
    rectified responses of the filters are averaged on the grid on which those of the wavelets are
    sampled.
    """
    if settings["method"] != METHODS[0]:
        return ScatteringLift((side, side), settings["J"], settings["angles"], phases=4)
    grid = side // 2 ** settings["J"]
    filters = RandomCirculantLift(1, settings["n"] // grid**2, 7, ndim=2, seed=settings["seed"])
    return nn.Sequential(filters, nn.AdaptiveAvgPool2d(grid))


def lifted(samples: Samples, lift: nn.Module) -> Samples:
    """Digits as vectors, lifted in parts because the responses of many filters are large."""
    X, labels = samples
    return torch.cat([lift(part).flatten(1) for part in X.split(500)]), labels


def show(cells: Sequence[Settings], results: Results) -> str:
    """Printed accuracies beside ours."""
    rows = []
    for (J, angles, method), found in groups(cells, "J", "angles", "method").items():
        n, layers, printed, reference = PRINTED[J, angles]
        index = METHODS.index(method)
        depth = None if "SVM" in method else str(layers)
        ours = spread(found, results, "test", 4)
        lift = f"J = {J}, {angles} angles"
        rows.append([method, lift, str(n), depth, printed[index], reference[index], ours])
    return markdown(rows, ["", "lift", "n", "layers", "paper", "reference", "ours"], 4)


TABLE = Table(
    title="lifted MNIST as vectors: 500 digits of each class",
    needs="MNIST",
    minutes=37,
    cells=[
        {"table": "17", "data": "MNIST", "J": J, "angles": angles, "n": n, "layers": layers}
        | {"method": method, "per_class": 500, "seed": 0}
        for (J, angles), (n, layers, _, _) in PRINTED.items()
        for method in METHODS
    ],
    compute=compute,
    show=show,
    trial={"data": "digits", "per_class": 5, "n": 9, "layers": 2},
)
