"""Table 18: vector ReduNet on MNIST."""

from collections import deque
from collections.abc import Sequence

import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from benchmarks.paper_tables.cells import Machine, Results, Settings, Table, Values, markdown
from benchmarks.paper_tables.digits import Samples, first, split
from redunet import NearestSubspaceClassifier, ReduNet

# ε² and η: printed training and test accuracy, and the reference test accuracy.
PRINTED = {
    (0.1, 0.1): (0.9988, 0.9186, 0.9225),
    (0.1, 0.5): (0.9998, 0.9184, 0.9222),
    (0.1, 1.0): (0.9999, 0.9184, None),
    (0.5, 0.1): (0.9986, 0.9392, 0.9425),
    (0.5, 0.5): (0.9986, 0.9393, 0.9415),
    (0.5, 1.0): (0.9986, 0.9393, None),
    (1.0, 0.1): (0.9874, 0.9500, 0.9498),
    (1.0, 0.5): (0.9968, 0.9476, 0.9480),
    (1.0, 1.0): (0.9968, 0.9476, None),
}
SIZE = {"per_class": 500, "layers": 100}
PRINTED_SVM = (0.9986, 0.8463, None)


def compute(settings: Settings, machine: Machine) -> Values:
    """Accuracies of one network, or of the linear SVM."""
    train = flat(first(split(settings["data"], "train", machine.data_dir), settings["per_class"]))
    test = flat(split(settings["data"], "test", machine.data_dir))
    if settings["eps_sq"] is None:
        svm = LinearSVC().fit(train[0].numpy(), train[1])
        return {"training": svm.score(*train), "test": svm.score(*test)}
    net = ReduNet.construct(
        *train,
        num_layers=settings["layers"],
        eta=settings["eta"],
        eps_sq=settings["eps_sq"],
        device=machine.device,
        progress=True,
    )
    Z, (Z_test, predicted) = net(train[0]), features_and_classes(net, test[0])
    classifier = NearestSubspaceClassifier(10).fit(Z, train[1])
    return {
        "training": classifier.score(Z, train[1]),
        "test": classifier.score(Z_test, test[1]),
        "membership": float((predicted == test[1]).float().mean()),
    }


def features_and_classes(net: ReduNet, X: Tensor) -> Samples:
    """Features, and the classes of the largest membership in the last layer, in one pass."""
    parts = []
    for batch in X.split(1000):
        before, Z = deque(net.trajectory(batch), maxlen=2)
        membership = net.layers[-1].membership(net.spectrum(before))
        parts.append((Z, membership.argmax(1).cpu()))
    Z, predicted = (torch.cat(x) for x in zip(*parts, strict=True))
    return Z, torch.tensor(net.classes_)[predicted]


def flat(samples: Samples) -> Samples:
    return samples[0].flatten(1), samples[1]


def show(cells: Sequence[Settings], results: Results) -> str:
    """Printed accuracies beside ours."""
    rows = []
    for settings in cells:
        eps_sq, eta = settings["eps_sq"], settings["eta"]
        name = "linear SVM" if eps_sq is None else f"ReduNet, ε² = {eps_sq}, η = {eta}"
        train, test, reference = PRINTED.get((eps_sq, eta), PRINTED_SVM)
        values = results.get(settings) or {}
        ours = (values.get(key) for key in ("training", "test", "membership"))
        training, tested, membership = ours
        rows.append([name, train, training, test, reference, tested, membership])
    headers = ["", "train, paper", "train, ours", "test, paper", "test, reference", "test, ours"]
    return markdown(rows, [*headers, "membership, test"], 4)


TABLE = Table(
    title="vector ReduNet on MNIST: 500 digits of each class, 100 layers",
    needs="MNIST",
    minutes=60,
    cells=[
        {"table": "18", "data": "MNIST", "eps_sq": eps_sq, "eta": eta} | SIZE
        for eps_sq, eta in (*PRINTED, (None, None))
    ],
    compute=compute,
    show=show,
    trial={"data": "digits", "per_class": 5, "layers": 2},
)
