"""Attention whose cost is linear in the number of tokens: a step down a variational coding rate."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from redunet._checks import check_count, check_positive


class TokenStatisticsAttention(nn.Module):
    """One step of gradient descent on the variational compression of tokens by several heads.

    Head h has p directions U_h ``(d, p)``. A token z has the coordinates w_h = U_hᵀ z in it, and
    belongs to it by the softmax π_h over the heads of τ ‖w_h‖². For the n tokens of a sample, and
    n_h = Σ π_h, the compression is

        R_c = ½ Σ_h n_h/n Σ_i f(s_hi),   s_hi = α Σ_t π_ht w_hti² / n_h,   α = p/ε².

    The module maps each token to z − η n ∂R_c/∂z with memberships kept, which is
    z − η Σ_h π_h U_h diag(α f'(s_h)) w_h. It needs sums over the tokens, but no pair of them:
    for a fixed function the cost is linear in n.

    Parameters
    ----------
    dim : int
        Size of a token, d.
    num_heads : int
        Number of heads.
    head_dim : int, optional
        p; by default d over the number of heads.
    eta : float
        Step size η.
    eps_sq : float
        ε², the squared precision of the code.
    function : callable
        f, which is concave and rises from f(0) = 0, applied entry by entry. With the logarithm of
        1 + s, R_c bounds the coding rate of the heads from above.

    Attributes
    ----------
    directions : nn.Parameter (num_heads, dim, head_dim)
        U_h, at first orthonormal.
    temperature : nn.Parameter (num_heads,)
        τ, at first 1.

    References
    ----------
    Baek et al., Efficient Maximal Coding Rate Reduction by Variational Forms (CVPR 2022), Theorem
    2.1, for any concave f; Wu et al., Token Statistics Transformer (ICLR 2025).

    Examples
    --------
    >>> import torch
    >>> from redunet import TokenStatisticsAttention
    >>> attention = TokenStatisticsAttention(dim=16, num_heads=4)
    >>> attention(torch.randn(2, 1000, 16)).shape
    torch.Size([2, 1000, 16])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        head_dim: int | None = None,
        *,
        eta: float = 0.1,
        eps_sq: float = 0.5,
        function: Callable[[Tensor], Tensor] = torch.log1p,
    ):
        super().__init__()
        dim, heads, size = check_count(dim=dim, num_heads=num_heads, head_dim=head_dim)
        if size is None and dim % heads:
            raise ValueError(f"dim={dim} is no multiple of num_heads={heads}: pass head_dim")
        size = dim // heads if size is None else size
        if size > dim:
            raise ValueError(f"head_dim must be at most dim={dim}, got {size}")
        self.eta, eps_sq = check_positive(eta=eta, eps_sq=eps_sq)
        self.alpha, self.function = size / eps_sq, function
        self.directions = nn.Parameter(torch.linalg.qr(torch.randn(heads, dim, size)).Q)
        self.temperature = nn.Parameter(torch.ones(heads))

    def forward(self, Z: Tensor) -> Tensor:
        """Tokens after the step, ``(…, n, dim)`` to ``(…, n, dim)``."""
        W = self._coordinates(Z)
        pi = self.membership(W)
        slopes = torch.func.grad(lambda s: self.function(s).sum())(self._statistics(W, pi))
        pull = (pi.unsqueeze(-1) * W) * (self.alpha * slopes).unsqueeze(-2)
        return Z - self.eta * torch.einsum("...hnp,hdp->...nd", pull, self.directions)

    def compression(self, Z: Tensor, pi: Tensor | None = None) -> Tensor:
        """R_c of tokens.

        Parameters
        ----------
        Z : Tensor of shape (…, n, dim)
        pi : Tensor of shape (…, num_heads, n), optional
            Memberships; by default those of the tokens.

        Returns
        -------
        Tensor of shape (…)
        """
        W = self._coordinates(Z)
        pi = self.membership(W) if pi is None else pi
        rates = self.function(self._statistics(W, pi)).sum(-1)
        return (pi.mean(-1) * rates).sum(-1) / 2

    def membership(self, W: Tensor) -> Tensor:
        """Memberships ``(…, num_heads, n)`` of tokens by their coordinates in the heads."""
        return torch.softmax(self.temperature[:, None] * W.square().sum(-1), -2)

    def _coordinates(self, Z: Tensor) -> Tensor:
        """U_hᵀ z, ``(…, num_heads, n, p)``."""
        return torch.einsum("...nd,hdp->...hnp", Z, self.directions)

    def _statistics(self, W: Tensor, pi: Tensor) -> Tensor:
        """s, ``(…, num_heads, p)``."""
        energies = torch.einsum("...hn,...hnp->...hp", pi, W.square())
        return self.alpha * energies / pi.sum(-1, keepdim=True)

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        heads, dim, size = self.directions.shape
        return f"dim={dim}, num_heads={heads}, head_dim={size}, eta={self.eta:g}"
