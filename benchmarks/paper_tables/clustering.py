"""Tables 10 and 11: clustering of features that were learned without labels, on MNIST.

The paper trains ResNet-18 on CIFAR-10, CIFAR-100 and STL-10, and clusters by the elastic net
(EnSC). Least-squares regression takes its place here. Both cluster the same features.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import laplacian
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.linear_model import ElasticNet
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from benchmarks.paper_tables.cells import Machine, Results, Settings, Table, Values, markdown
from benchmarks.paper_tables.digits import first
from benchmarks.paper_tables.training import CLASSES, digits, network
from redunet import MCR2Loss

MEASURES = ("NMI", "ACC", "ARI")

# Digits in a batch and distortions of each, as in the paper.
BATCH, DISTORTIONS = 20, 50

USUAL = {"steps": 200, "per_class": 1000, "sigma": 0.0, "clustered": 100, "seed": 0}

# NMI, ACC and ARI on CIFAR-10, of Tables 10 and 11.
PRINTED = {
    ("pixels", "k-means"): (0.087, 0.229, 0.049),
    ("MCR²", "EnSC, τ = 0.95, γ = 50"): (0.544, 0.570, 0.399),
    ("MCR²-CTRL", "EnSC, τ = 0.95, γ = 50"): (0.630, 0.684, 0.508),
}


def compute(settings: Settings, machine: Machine) -> Values:
    """NMI, ACC, ARI and seconds of every method on the same features of test digits."""
    X, labels = first(digits(settings, "test", machine), settings["clustered"])
    Z = X.flatten(1)
    if settings["features"] != "pixels":
        Z = trained(settings, machine)(X.to(machine.device)).detach().cpu()
    values: Values = {}
    for name, method in METHODS.items():
        start = time.perf_counter()
        clusters = method(Z.double().numpy(), settings["seed"])
        values[f"{name}: seconds"] = time.perf_counter() - start
        for measure, value in zip(MEASURES, scores(labels, clusters), strict=True):
            values[f"{name}: {measure}"] = float(value)
    return values


def scores(labels: Tensor, clusters: np.ndarray) -> tuple[float, float, float]:
    """NMI with the geometric mean, ACC and ARI (Appendix D.6.2)."""
    return (
        normalized_mutual_info_score(labels, clusters, average_method="geometric"),
        accuracy_of_clusters(labels, clusters),
        adjusted_rand_score(labels, clusters),
    )


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


def accuracy_of_clusters(labels: Tensor, clusters: np.ndarray) -> float:
    """The share of samples in the right cluster, for the best assignment of clusters to classes."""
    counts = contingency_matrix(labels, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())


def k_means(Z: np.ndarray, seed: int) -> np.ndarray:
    return KMeans(CLASSES, n_init=10, random_state=seed).fit_predict(Z)


def least_squares(Z: np.ndarray, seed: int) -> np.ndarray:
    clustering = SpectralClustering(CLASSES, affinity="precomputed", random_state=seed)
    return clustering.fit_predict(subspace_affinity(Z))


def elastic_net(tau: float, gamma: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """Clustering by the elastic net (EnSC).

    Spectral clustering is that of Ng, Jordan, Weiss (NIPS 2001): k-means of the normalised rows of
    the eigenvectors of the normalised Laplacian.
    """

    def cluster(Z: np.ndarray, seed: int) -> np.ndarray:
        weights = np.abs(normalize(coefficients(Z, tau, gamma)))
        vectors = np.linalg.eigh(laplacian(weights + weights.T, normed=True))[1][:, :CLASSES]
        kmeans = KMeans(CLASSES, n_init=20, random_state=seed)
        return kmeans.fit_predict(normalize(vectors))

    return cluster


def coefficients(Z: np.ndarray, tau: float, gamma: float) -> np.ndarray:
    """Each sample of unit norm as a sparse combination of the others, ``(m, m)``.

    Row c of sample x minimises τ‖c‖₁ + (1 − τ)/2 ‖c‖₂² + γ'/2 ‖x − Zᵀc‖₂² with c = 0 for the sample
    itself (You, Li, Robinson, Vidal, CVPR 2016). γ' is γ times the largest value for which c is
    zero. With τ = 1 this is sparse subspace clustering.
    """
    samples = normalize(Z)
    similarity = np.abs(samples @ samples.T)
    np.fill_diagonal(similarity, 0)
    codes = np.zeros_like(similarity)
    for i in tqdm(range(len(samples)), desc=f"τ = {tau}", leave=False):
        others = np.arange(len(samples)) != i
        alpha = similarity[i].max() / (gamma * tau * samples.shape[1])
        net = ElasticNet(alpha=alpha, l1_ratio=tau, fit_intercept=False, max_iter=20000)
        codes[i, others] = net.fit(samples[others].T, samples[i]).coef_
    return codes


METHODS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "k-means": k_means,
    "least squares": least_squares,
    "EnSC, τ = 0.95, γ = 5": elastic_net(0.95, 5.0),
    "EnSC, τ = 0.95, γ = 50": elastic_net(0.95, 50.0),
    "EnSC, τ = 1, γ = 50": elastic_net(1.0, 50.0),
}


def trained(settings: Settings, machine: Machine) -> torch.nn.Module:
    """The small network after training with the distortions of a digit as a class."""
    images = digits(settings, "train", machine)[0].to(machine.device)
    gamma = settings["gamma"]
    loss = MCR2Loss(gamma1=gamma, gamma2=gamma)
    labels = torch.arange(BATCH).repeat_interleave(DISTORTIONS)
    torch.manual_seed(settings["seed"])
    featurizer = network(images.shape[-1]).to(machine.device)
    optimizer = torch.optim.Adam(featurizer.parameters(), lr=1e-3)
    with torch.enable_grad():
        for _ in tqdm(range(settings["steps"]), desc=settings["features"], leave=False):
            chosen = images[torch.randperm(len(images))[:BATCH]]
            value = loss(featurizer(distorted(chosen.repeat_interleave(DISTORTIONS, 0))), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return featurizer


def distorted(images: Tensor) -> Tensor:
    """Images after a small random rotation, scaling, shear and translation of each."""

    def uniform(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(len(images), *shape, device=images.device) - 1) * limit

    angle = uniform(math.radians(15))
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    stretch = torch.diag_embed(1 + uniform(0.2, 2))
    stretch[:, 0, 1] = uniform(0.2)
    maps = torch.cat([turn @ stretch, uniform(0.15, 2, 1)], 2)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def show(cells: Sequence[Settings], results: Results) -> str:
    """Every measure of every method, beside those of the paper on CIFAR-10."""
    rows = []
    for settings in cells:
        values = results.get(settings) or {}
        for name in METHODS:
            printed = PRINTED.get((settings["features"], name), (None,) * 3)
            ours = (values.get(f"{name}: {measure}") for measure in MEASURES)
            seconds = values.get(f"{name}: seconds")
            shown = None if seconds is None else f"{seconds:.1f}"
            rows.append([settings["features"], name, *printed, *ours, shown])
    paper = (f"{measure}, CIFAR-10, paper" for measure in MEASURES)
    ours = (f"{measure}, ours" for measure in MEASURES)
    return markdown(rows, ["features", "clustering", *paper, *ours, "seconds"])


TABLE = Table(
    title="clustering of features without labels (also Table 10)",
    needs="MNIST",
    minutes=5,
    cells=[
        {"table": "11", "data": "MNIST", "features": name, "gamma": gamma} | USUAL
        for name, gamma in (("pixels", None), ("MCR²", 1.0), ("MCR²-CTRL", 20.0))
    ],
    compute=compute,
    show=show,
    trial={"data": "digits", "steps": 1, "clustered": 6, "per_class": 20},
)
