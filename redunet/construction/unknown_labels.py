"""Memberships of samples whose class is not known, which ascend the rate reduction.

ΔR = R − R_c depends on the memberships Π through R_c alone. With m_j = tr Πʲ and the rate ρ_j of
class j, the derivative for sample v_i and class j is

    m ∂R_c/∂π_ij = ρ_j + (m_j v_i* Cʲ v_i − Σ_l π_lj v_l* Cʲ v_l) / (2F),

summed over the frequencies. It is the number of nats that class j needs to encode one more sample:
its rate, plus the squared distance of the sample from the class, minus half the effective dimension
of the class. The memberships of a sample take a step down this gradient, and are projected onto the
simplex.

R_c is concave in Π, because m_j ρ_j is the perspective of the concave function log det. A concave
function lies below its tangent planes, so a projected step of any length lowers it. No line search
is needed.
"""

import torch
from torch import Tensor

from redunet._processes import Processes
from redunet.coding.merging import merge
from redunet.construction.features import LabelledFeatures
from redunet.layers import OperatorKind, SecondMoments
from redunet.rates import Partition
from redunet.rates.coding_rates import mean_rate

# The step of the memberships, in samples per nat. One step moves a whole sample to another class if
# that saves a nat.
STEP = 1.0

# Largest number of steps before the first layer.
MOST_STEPS = 50

# Largest number of samples that are clustered if no label is known.
MOST_CLUSTERED = 2000


def start(kind: OperatorKind, samples: LabelledFeatures, *, progress: bool = False) -> None:
    """Determine memberships before the first layer, of samples that have none yet.

    If some classes are known, steps begin with the operators of the samples whose class is known.
    Otherwise they begin with clusters by lossy coding. They end when no membership changes.

    Parameters
    ----------
    kind : OperatorKind
    samples : LabelledFeatures
    progress : bool
        Show a progress bar of the clustering on standard error.
    """
    if float(samples.info.counts.sum()) == 0:
        samples.assign(clusters(samples, progress=progress))
    for _ in range(MOST_STEPS):
        if not ascend(samples, samples.moments(kind)):
            break


def clusters(samples: LabelledFeatures, *, progress: bool = False) -> Tensor:
    """Memberships of some random samples in clusters by lossy coding, ``(m, k)``.

    The clusters of at most 2000 samples are merged until k are left. The other samples get no
    membership.
    """
    info = samples.info
    if info.processes.size > 1:
        raise ValueError("samples without any labels cannot be shared between processes")
    V = torch.cat(list(samples.current), 1)
    m, k = V.shape[1], samples.partition.num_classes
    if m < k:
        raise ValueError(f"at least as many samples as classes are needed, got {m} for {k}")
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(m, generator=generator, device="cpu")[:MOST_CLUSTERED].to(V.device)
    single = Partition.from_labels(range(len(chosen)), len(chosen), device=V.device, partial=True)
    merging = merge(V[:, chosen], single, info.spectrum.weights, info.eps_sq, progress=progress)
    labels = torch.from_numpy(merging.labels(len(chosen) - k)).to(V.device)
    membership = torch.zeros(m, k, dtype=torch.float64, device=V.device)
    membership[chosen, labels] = 1
    return membership


def ascend(samples: LabelledFeatures, moments: SecondMoments) -> bool:
    """Move the memberships of the samples by one step up the rate reduction.

    Parameters
    ----------
    samples : LabelledFeatures
        Memberships of samples whose class is known do not change.
    moments : SecondMoments
        Second moments of the current features with their memberships.

    Returns
    -------
    bool
        Whether a membership of any process has changed.
    """
    assert samples.known is not None
    info, membership = samples.info, samples.partition.membership
    compression = moments.operators().compression
    forms = torch.cat([compression.quadratic_forms(V) for V in samples.current]).double()
    rates = mean_rate(moments.log_dets()[:, 1:].double(), info.spectrum)
    gradient = coding_increments(forms, membership, rates, info.spectrum.size, info.processes)
    moved = project_to_simplex(membership - STEP * gradient)
    moved = torch.where(samples.known[:, None], membership, moved)
    if all(info.processes.all_gather_object(torch.equal(moved, membership))):
        return False
    samples.assign(moved)
    return True


def coding_increments(
    forms: Tensor, membership: Tensor, class_rates: Tensor, frequencies: int, processes: Processes
) -> Tensor:
    """m ∂R_c/∂Π, the nats that each class needs for one more sample, ``(m, k)``.

    Parameters
    ----------
    forms : Tensor of shape (m, k)
        v* Cʲ v of all samples, summed over the frequencies.
    membership : Tensor of shape (m, k)
    class_rates : Tensor of shape (k,)
    frequencies : int
    processes : Processes
    """
    sums = processes.all_reduce(torch.stack([membership.sum(0), (membership * forms).sum(0)]))
    counts, dimensions = sums
    return class_rates + (counts * forms - dimensions) / (2 * frequencies)


def project_to_simplex(points: Tensor) -> Tensor:
    """The closest points ``(m, k)`` with entries of at least 0 that sum to 1.

    References
    ----------
    Held, Wolfe, Crowder. Validation of subgradient optimization (Mathematical Programming 1974).
    """
    ordered = points.sort(1, descending=True).values
    excess = (ordered.cumsum(1) - 1) / torch.arange(1, points.shape[1] + 1, device=points.device)
    support = (ordered > excess).sum(1, keepdim=True)
    return (points - excess.gather(1, support - 1)).clamp_min(0)
