"""Cluster digits without labels: the distortions of each digit form a class of their own.

MCR² makes the distortions of a digit fill a small part of the space, and all digits together a
large part. Digits of the same kind are similar, so they end in the same subspace. With γ₁ and γ₂
(MCR²-CTRL) features are first compressed and then expanded. Table 10 and Figure 21 of the ReduNet
paper (JMLR 2022), which uses other images and a larger network.
"""

import argparse
import math
from collections.abc import Iterator

import matplotlib.pyplot as plt
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from featurizers import LITTLE_DROPOUT, NUM_CLASSES, Problem, argument_parser, test_features
from redunet import MCR2Loss, datasets, rate_reduction
from redunet.estimators.clustering import SubspaceClustering, clustering_accuracy
from redunet.plots import PALETTE, plot_similarity

# Samples in a batch, distortions of each sample, and γ₁ = γ₂, as in the paper.
SAMPLES, DISTORTIONS, GAMMA = 20, 50, 20.0


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0], dim=32)
    parser.add_argument(
        "--gamma", type=float, default=GAMMA, help="γ₁ and γ₂ (default: 20; 1 is plain MCR²)"
    )
    parser.add_argument(
        "--clustered", type=int, default=80, help="test digits of each class to cluster"
    )
    options = parser.parse_args()
    problem = Problem.of(options)._replace(dropout=LITTLE_DROPOUT)
    epochs = options.epochs or 20
    torch.manual_seed(options.seed)
    featurizer = problem.featurizer(options.device)
    rates = train(featurizer, problem.train[0], epochs, options)

    rows = datasets.subsample(problem.test[1], options.clustered)
    problem = problem._replace(test=tuple(t[rows] for t in problem.test))
    pixels, labels = problem.test[0].flatten(1), problem.test[1]
    Z = test_features(featurizer, problem).cpu()
    kmeans = KMeans(NUM_CLASSES, n_init=10, random_state=options.seed)
    subspaces = SubspaceClustering(NUM_CLASSES, random_state=options.seed)
    table = [
        [name, *scores(labels, method.fit_predict(samples.double().numpy()))]
        for name, method, samples in (
            ("k-means on pixels", kmeans, pixels),
            ("subspaces of pixels", subspaces, pixels),
            ("k-means on features", kmeans, Z),
            ("subspaces of features", subspaces, Z),
        )
    ]
    print(f"{len(Z)} test images of {problem.name}, clustered without labels")
    print(tabulate(table, ["", "NMI", "accuracy", "ARI"], "github", floatfmt=".3f"))
    draw(rates, Z, labels, options)


def train(
    featurizer: nn.Module, images: Tensor, epochs: int, options: argparse.Namespace
) -> list[list[float]]:
    """Train on distortions, and return R and R_c of each step."""
    loss = MCR2Loss(gamma1=options.gamma, gamma2=options.gamma)
    optimizer = torch.optim.Adam(featurizer.parameters(), lr=1e-3)
    rates = []
    steps = epochs * (len(images) // SAMPLES)
    for X, labels in tqdm(distorted_batches(images, steps), total=steps, desc="steps"):
        Z = featurizer(X.to(options.device))
        value = loss(Z, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        _, expansion, compression = rate_reduction(Z.detach(), labels, loss.eps_sq)
        rates.append([expansion.item(), compression.item()])
    return rates


def distorted_batches(images: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of many distortions of a few random images, with the number of the image as label."""
    labels = torch.arange(SAMPLES).repeat_interleave(DISTORTIONS)
    for _ in range(steps):
        chosen = images[torch.randperm(len(images))[:SAMPLES]]
        yield distorted(chosen.repeat_interleave(DISTORTIONS, 0)), labels


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


def scores(labels: Tensor, clusters: object) -> list[float]:
    """Normalised mutual information, accuracy, and adjusted Rand index (Appendix D.6.2)."""
    return [
        normalized_mutual_info_score(labels, clusters, average_method="geometric"),
        clustering_accuracy(labels, clusters),
        adjusted_rand_score(labels, clusters),
    ]


def draw(rates: list[list[float]], Z: Tensor, labels: Tensor, options: argparse.Namespace) -> None:
    """Rates against steps, and similarities of the test features, sorted by true class."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
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
