"""A small network, trained with wrong labels or noisy digits, for Tables 1 and 6–9."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset
from tqdm import trange

from benchmarks.paper_tables.cells import Machine, Settings, Values
from benchmarks.paper_tables.digits import Samples, first, split
from redunet import MCR2Loss, NearestSubspaceClassifier, OLELoss
from redunet.datasets import corrupt_labels

CLASSES, DIM = 10, 128
COMPONENTS = (10, 20, 30, 40, 50)
OLE_WEIGHT = 0.25
USUAL = {"per_class": 500, "epochs": 20, "batch_size": 500, "seed": 0}


class Logits(nn.Module):
    """Cross-entropy with a linear classifier on the features, and OLE with a weight."""

    def __init__(self, ole_weight: float = 0.0):
        super().__init__()
        self.classifier = nn.Linear(DIM, CLASSES)
        self.ole = OLELoss()
        self.ole_weight = ole_weight

    def forward(self, Z: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch; OLE is divided by the number of samples."""
        loss = functional.cross_entropy(self.classifier(Z), labels)
        return loss + self.ole_weight * self.ole(Z, labels) / len(Z) if self.ole_weight else loss


class OnSphere(nn.Module):
    """Scale features to unit norm."""

    def forward(self, Z: Tensor) -> Tensor:
        """Features ``(m, d)`` divided by their norms."""
        return functional.normalize(Z, dim=1)


def network(side: int) -> nn.Module:
    """Two convolutions and two linear layers, to 128 features of unit norm."""
    grid = (side - 4) // 2
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * grid**2, DIM), nn.ReLU(), nn.Linear(DIM, DIM), OnSphere()),
    )


def objective(settings: Settings) -> nn.Module:
    """The loss that the settings name."""
    if settings["objective"] == "MCR²":
        return MCR2Loss(settings["eps_sq"])
    return Logits(OLE_WEIGHT if settings["objective"] == "OLE" else 0.0)


def compute(settings: Settings, machine: Machine) -> Values:
    """Test accuracies of nearest subspaces and, if the loss has one, of its classifier."""
    X, truth = digits(settings, "train", machine)
    labels = corrupt_labels(truth, settings["wrong"], seed=settings["seed"])
    torch.manual_seed(settings["seed"])
    featurizer = network(X.shape[-1]).to(machine.device)
    loss = objective(settings).to(machine.device)
    parameters = [*featurizer.parameters(), *loss.parameters()]
    data = TensorDataset(X, labels)
    batches = DataLoader(
        data,
        sampler=BatchSampler(RandomSampler(data), settings["batch_size"], drop_last=False),
        batch_size=None,
    )
    with torch.enable_grad():
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
        for _ in trange(settings["epochs"]):
            for samples, targets in batches:
                optimizer.zero_grad()
                loss(featurizer(samples.to(machine.device)), targets.to(machine.device)).backward()
                optimizer.step()
    return scores(featurizer, loss, (X, labels), digits(settings, "test", machine))


def digits(settings: Settings, name: str, machine: Machine) -> Samples:
    """Digits with half of the resolution of MNIST, and with Gaussian noise if there is any."""
    X, labels = split(settings["data"], name, machine.data_dir)
    if name == "train":
        X, labels = first((X, labels), settings["per_class"])
    if settings["data"] == "MNIST":
        X = functional.avg_pool2d(X, 2)
    if settings["sigma"]:
        seed = 2 * settings["seed"] + (name == "test")
        noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(seed))
        X = X + settings["sigma"] * noise
    return X, labels


@torch.no_grad()
def scores(featurizer: nn.Module, loss: nn.Module, seen: Samples, test: Samples) -> Values:
    """Test accuracies by number of components, and of the classifier of the loss."""
    (Z, labels), (Z_test, truth) = (in_batches(featurizer, samples) for samples in (seen, test))
    values = {
        f"r = {r}": NearestSubspaceClassifier(r).fit(Z, labels).score(Z_test, truth)
        for r in COMPONENTS
    }
    if isinstance(loss, Logits):
        predicted = loss.cpu().classifier(Z_test).argmax(1)
        values["classifier"] = (predicted == truth).float().mean().item()
    return values


def in_batches(featurizer: nn.Module, samples: Samples) -> Samples:
    """Features and labels on the processor."""
    device = next(featurizer.parameters()).device
    Z = torch.cat([featurizer(X.to(device)).cpu() for X in samples[0].split(1000)])
    return Z, samples[1]


def cell(
    name: str, wrong: float = 0.0, eps_sq: float | None = None, sigma: float = 0.0
) -> Settings:
    """Settings of one training. Tables that show the same training share its cell."""
    varied = {"objective": name, "eps_sq": eps_sq, "wrong": wrong, "sigma": sigma}
    return {"table": "training", "data": "MNIST"} | varied | USUAL
