"""Cluster digits without labels: the distortions of each digit form a class of their own.

MCR² makes the distortions of a digit fill a small part of the space, and all digits together a
large part. Digits of the same kind are similar, so they end in the same subspace. With γ₁ and γ₂
(MCR²-CTRL) features are first compressed and then expanded. Table 10 and Figure 21 of the ReduNet
paper (JMLR 2022), which uses other images and a larger network. ``--data cifar10 --paper`` takes
these images and this network.
"""

import argparse
import math
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional

from featurizers import (
    LITTLE_DROPOUT,
    PRECISIONS,
    Objective,
    Problem,
    add_training_options,
    argument_parser,
    settings_of,
    test_features,
)
from papers import SELF_SUPERVISED, self_supervised_problem
from redunet import MCR2Loss, datasets, rate_reduction
from redunet.plots import PALETTE, plot_similarity
from training import train

# Samples in a batch, distortions of each sample, and γ₁ and γ₂, as in the paper.
SAMPLES, DISTORTIONS, GAMMA = 20, 50, 20.0


def main() -> None:
    options = parsed()
    if options.paper:
        problem, setting = self_supervised_problem(options), SELF_SUPERVISED[options.data]
        epochs, distort = options.epochs or setting.schedule.epochs, setting.distortions
    else:
        problem, setting = Problem.of(options)._replace(dropout=LITTLE_DROPOUT), None
        epochs, distort = options.epochs or 20, distorted
    torch.manual_seed(options.seed)
    featurizer = problem.featurizer(options.device)
    loss = RecordedMCR2Loss(eps_sq=options.eps_sq, gamma1=options.gamma1, gamma2=options.gamma2)
    schedule = setting.schedule._asdict() if setting else {"learning_rate": 1e-3}
    objective = Objective(loss, **schedule | ({"learning_rate": options.lr} if options.lr else {}))
    adam = torch.optim.Adam(featurizer.parameters(), objective.learning_rate)
    optimizer = objective.optimizer(featurizer) if setting else adam
    train(
        featurizer,
        loss,
        DistortedBatches(problem.train[0], distort),
        optimizer,
        epochs=epochs,
        scheduler=objective.scheduler(optimizer),
        autocast=PRECISIONS.get(options.amp),
        checkpoint=options.checkpoint,
        settings=settings_of(options),
        progress=True,
    )

    rows = datasets.subsample(problem.test[1], options.clustered)
    problem = problem._replace(test=tuple(t[rows] for t in problem.test))
    pixels, labels = problem.test[0].flatten(1), problem.test[1]
    Z = test_features(featurizer, problem).cpu()
    kmeans = KMeans(problem.num_classes, n_init=10, random_state=options.seed)
    spectral = SpectralClustering(
        problem.num_classes, affinity="precomputed", random_state=options.seed
    )
    table = [
        [name, *scores(labels, method.fit_predict(samples))]
        for name, method, samples in (
            ("k-means on pixels", kmeans, pixels.double().numpy()),
            ("subspaces of pixels", spectral, subspace_affinity(pixels.double().numpy())),
            ("k-means on features", kmeans, Z.double().numpy()),
            ("subspaces of features", spectral, subspace_affinity(Z.double().numpy())),
        )
    ]
    print(f"{len(Z)} test images of {problem.name}, clustered without labels")
    print(tabulate(table, ["", "NMI", "accuracy", "ARI"], "github", floatfmt=".3f"))
    draw(loss.rates, Z, labels, options)


def parsed() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0])
    for name in ("gamma1", "gamma2"):
        parser.add_argument(
            f"--{name}", type=float, default=GAMMA, help="(default: 20; 1 is plain MCR²)"
        )
    parser.add_argument(
        "--clustered", type=int, default=80, help="test images of each class to cluster"
    )
    parser.add_argument(
        "--data", choices=SELF_SUPERVISED, help="images for --paper, read from --data-dir"
    )
    parser.add_argument(
        "--paper", action="store_true", help="network and settings of the paper, for a GPU"
    )
    add_training_options(parser)
    options = parser.parse_args()
    if bool(options.data) != options.paper:
        parser.error("--data and --paper need each other")
    if options.data and not options.data_dir:
        parser.error(f"set --data-dir or REDUNET_DATA to the folder of {options.data}")
    if not options.paper:
        options.dim = options.dim or 32
    return options


class RecordedMCR2Loss(MCR2Loss):
    """MCR², which records R and R_c of each step."""

    def __init__(self, **options: float):
        super().__init__(**options)
        self.rates: list[list[float]] = []

    def forward(self, Z: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        _, expansion, compression = rate_reduction(Z.detach(), labels, self.eps_sq)
        self.rates.append([expansion.item(), compression.item()])
        return super().forward(Z, labels)

    def get_extra_state(self) -> dict[str, list[list[float]]]:
        """The rates, for checkpoints."""
        return {"rates": self.rates}

    def set_extra_state(self, state: dict[str, list[list[float]]]) -> None:
        """Resume with the rates of a checkpoint."""
        self.rates = state["rates"]


class DistortedBatches:
    """An epoch of batches: distortions of a few random images, with the image as label."""

    def __init__(self, images: Tensor, distort: Callable[[Tensor], Tensor]):
        self.images, self.distort = images, distort

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels = torch.arange(SAMPLES).repeat_interleave(DISTORTIONS)
        for _ in range(len(self.images) // SAMPLES):
            chosen = self.images[torch.randperm(len(self.images))[:SAMPLES]]
            yield self.distort(chosen.repeat_interleave(DISTORTIONS, 0)), labels


def distorted(images: Tensor) -> Tensor:
    """Images after a small random rotation, scaling, shear and translation of each."""

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(len(images)) - 1) * limit

    angle, shear = uniform(math.radians(15)), uniform(0.2)
    width, height = 1 + uniform(0.2), 1 + uniform(0.2)
    cos, sin = angle.cos(), angle.sin()
    look = torch.stack(
        [
            torch.stack([cos * width, (shear * cos - sin) * height, uniform(0.15)], 1),
            torch.stack([sin * width, (shear * sin + cos) * height, uniform(0.15)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(look, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def subspace_affinity(Z: np.ndarray, ridge: float = 0.1) -> np.ndarray:
    """|C| + |C|ᵀ with the coefficients C of the ridge regression of each sample on the others.

    With D = (ZZᵀ + λI)⁻¹ for samples of unit norm, C = −D diag(D)⁻¹ off the diagonal (Lu, Min,
    Zhao, Zhu, Huang, Yan. Robust and Efficient Subspace Segmentation via Least Squares Regression,
    ECCV 2012). Spectral clustering with this affinity finds subspaces.
    """
    samples = normalize(Z)
    precision = np.linalg.inv(samples @ samples.T + ridge * np.eye(len(samples)))
    weights = np.abs(precision / precision.diagonal())
    np.fill_diagonal(weights, 0)
    return weights + weights.T


def accuracy_of_clusters(labels: Tensor, clusters: object) -> float:
    """The share of samples in the right cluster, for the best assignment of clusters to classes."""
    counts = contingency_matrix(labels, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())


def scores(labels: Tensor, clusters: object) -> list[float]:
    """Normalised mutual information, accuracy, and adjusted Rand index (Appendix D.6.2)."""
    return [
        normalized_mutual_info_score(labels, clusters, average_method="geometric"),
        accuracy_of_clusters(labels, clusters),
        adjusted_rand_score(labels, clusters),
    ]


def draw(rates: list[list[float]], Z: Tensor, labels: Tensor, options: argparse.Namespace) -> None:
    """Rates against steps, and similarities of the test features, sorted by true class."""
    figure, axes = plt.subplots(2, 1, figsize=(6.5, 8.5), layout="constrained")
    expansion, compression = torch.tensor(rates).T
    for values, name, color in (
        (expansion - compression, r"$\Delta R$", PALETTE[0]),
        (expansion, r"$R$", PALETTE[1]),
        (compression, r"$R_c$", PALETTE[2]),
    ):
        axes[0].plot(values, color=color, label=name, linewidth=1)
    axes[0].set(title="Rates of distorted digits", xlabel="step", ylabel="rate [nats]")
    axes[0].legend(frameon=False)
    plot_similarity(Z, labels, ax=axes[1]).set_title("Features of test digits, by true class")
    options.figures.mkdir(parents=True, exist_ok=True)
    path = options.figures / "self_supervised.png"
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")


if __name__ == "__main__":
    main()
