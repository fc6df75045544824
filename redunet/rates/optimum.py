"""The largest rate reduction that features can have."""

from collections.abc import Sequence

import numpy as np

from redunet._checks import check_counts, check_positive
from redunet._keywords import suggests


@suggests
def optimal_rate_reduction(
    counts: Sequence[int], dims: Sequence[int], eps_sq: float, dim: int | None = None
) -> float:
    """The largest ΔR of features whose classes have at most so many dimensions, in nats.

    It is reached if the classes lie in orthogonal subspaces, and class j fills r_j ≤ d_j dimensions
    evenly, with r_j singular values √(m_j/r_j):

        ΔR = ½ Σ_j max_{r ≤ d_j} r (log(1 + α m_j/r) − γ_j log(1 + α_j m_j/r)),

    with α = n/(m ε²), α_j = n/(m_j ε²) and γ_j = m_j/m. The paper has r_j = d_j, for which it asks
    that ε⁴ < min_j γ_j n²/d_j². Just below this bound, fewer dimensions can give more.

    Parameters
    ----------
    counts : sequence of int
        m_j, the number of samples of each class.
    dims : sequence of int
        d_j, the largest number of dimensions of each class. A class of m_j samples has m_j at most.
    eps_sq : float
        ε², the squared precision of the code.
    dim : int, optional
        n, the dimension of the features; by default Σ_j d_j, in which all classes just have room.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no room for the classes, their numbers differ, or a value is not positive.

    References
    ----------
    Yu, Chan, You, Song, Ma. Learning Diverse and Discriminative Representations via the Principle
    of Maximal Coding Rate Reduction (NeurIPS 2020), Theorem 1; Chan et al., ReduNet (JMLR 2022),
    Theorem 12.

    Examples
    --------
    >>> round(optimal_rate_reduction([50, 50], [1, 1], eps_sq=0.5), 3)
    0.294
    """
    sizes, most = check_counts(counts=counts), check_counts(dims=dims)
    eps_sq, n = check_positive(eps_sq=eps_sq), check_counts(dim=dim or sum(most))[0]
    if len(sizes) != len(most):
        raise ValueError(f"dims must be {len(sizes)}, one for each of the counts, got {len(most)}")
    if n < sum(most):
        raise ValueError(
            f"dim must be at least {sum(most)}, the sum of dims, so that the classes have room in "
            f"orthogonal subspaces, got {n}"
        )
    m, total = sum(sizes), 0.0
    for size, limit in zip(sizes, most, strict=True):
        rank = np.arange(1, min(size, limit) + 1)
        whole, own = (np.log1p(n / (count * eps_sq) * size / rank) for count in (m, size))
        total += (rank * (whole - size / m * own)).max() / 2
    return float(total)
