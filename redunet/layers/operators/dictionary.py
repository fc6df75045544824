"""Operators from one dictionary."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from redunet.layers.operators.operator import Operator, real_form
from redunet.layers.operators.responses import ALL, Responses, blocks_of_samples, select_classes
from redunet.rates.dictionary import coherence
from redunet.rates.spectrum import safe_sqrt, scaled, squared_norms, total


class DictionaryOperator(Operator):
    """α_j (I − Γ K_j Γ*) with one dictionary Γ for all j.

    A sample is projected onto the q atoms once, Γ* v. Each j then takes a product with a q × q
    matrix. By Woodbury's identity every inverse I − Γ K Γ* = (I + β Γ diag(c) Γ*)⁻¹ with codes
    c ≥ 0 has this form.

    Parameters
    ----------
    dictionary : Tensor of shape (F, q, C)
        The atoms, one per row: Γ(p) transposed. Real for vectors (F = 1), complex for signals.
    cores : Tensor of shape (F, k, q, q)
        K_j(p).
    codes : Tensor of shape (F, k, q)
        The energy of a sample on each atom, from which the cores were made. The next layer of a
        construction starts from them.
    scales : Tensor of shape (k,)
        α_j.
    """

    dictionary: nn.Parameter
    cores: nn.Parameter
    codes: Tensor
    scales: Tensor

    def __init__(self, dictionary: Tensor, cores: Tensor, codes: Tensor, scales: Tensor):
        super().__init__(codes.shape[1], dictionary.shape[2])
        self.dictionary = nn.Parameter(dictionary, requires_grad=False)
        self.cores = nn.Parameter(cores, requires_grad=False)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    @property
    def atoms(self) -> int:
        """Number of atoms, q."""
        return self.dictionary.shape[1]

    @property
    def description(self) -> str:
        """A short name of the representation."""
        return f"{self.atoms} atoms"

    @property
    def width(self) -> int:
        """Number of entries that one sample needs at one frequency: K_j Γ* v for all j."""
        return self.count * self.atoms

    def project(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """Γ* v, ``(F, m, C)`` to ``(F, m, q)``."""
        return V @ self.dictionary[frequencies].mH

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """The products of every sample with all matrices, ``(F, m, k, C)``."""
        cores = self.cores[frequencies]
        coefficients = self.project(V, frequencies) @ cores.flatten(1, 2).mT
        coefficients = coefficients.unflatten(2, cores.shape[1:3])  # (F, m, k, q)
        in_class = coefficients @ self.dictionary[frequencies].unsqueeze(1)
        return scaled(V.unsqueeze(2) - in_class, self.scales[:, None])

    def responses(self, V: Tensor) -> Iterator[tuple[slice, Responses]]:
        """Blocks of the samples ``(F, m, C)``, each with its responses."""
        forms = self.forms()
        for run in blocks_of_samples(V, self.width):
            yield run, DictionaryResponses(V[:, run], self, forms)

    def real_form(self) -> "DictionaryOperator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``, of twice the atoms."""
        twice = 2 if self.dictionary.is_complex() else 1
        return DictionaryOperator(
            real_form(self.dictionary.conj()),
            real_form(self.cores),
            self.codes.repeat(1, 1, twice),
            self.scales.clone(),
        )

    def forms(self) -> Tensor:
        """N_j with ‖v − Γ K_j Γ* v‖² = ‖v‖² − Re (Γ*v)* N_j Γ*v, ``(F, k, q, q)``."""
        explained = self.cores.mH @ coherence(self.dictionary).unsqueeze(1) @ self.cores
        return 2 * self.cores - explained


class DictionaryResponses(Responses):
    """Responses to operators that share a dictionary.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operator : DictionaryOperator
    forms : Tensor of shape (F, k, q, q)
        Those of :meth:`DictionaryOperator.forms`.
    """

    gathers = True

    def __init__(self, V: Tensor, operator: DictionaryOperator, forms: Tensor):
        super().__init__(V, operator)
        self._forms = forms
        self._shared = operator

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``.

        The residual is the root of a difference of squares. For a sample close to its class, the
        error is of order √eps, which is far too small to confuse the class with another class.
        """
        in_class = total(self._squared_norms_in_class(block) for block in self.blocks)
        residuals = squared_norms(self.V, dim=0)[:, None] - in_class
        return self._shared.scales * safe_sqrt(residuals)

    def _squared_norms_in_class(self, block: slice) -> Tensor:
        """‖v‖² − ‖v − Γ K_j Γ* v‖², ``(m, k)``."""
        projections = self._shared.project(self.V[block], block).unsqueeze(1)
        products = projections @ self._forms[block].mT  # (F_b, k, m, q)
        return (projections.conj() * products).real.sum((0, 3)).mT

    def _own(self, members: Tensor, classes: Tensor, block: slice) -> Tensor:
        cores = select_classes(self._shared.cores[block], classes)
        atoms = self._shared.dictionary[block].unsqueeze(1)
        in_class = members @ atoms.mH @ cores.mT @ atoms
        return scaled(members - in_class, self._shared.scales[classes, None, None])

    def _sum(self, V: Tensor, weights: Tensor, block: slice) -> Tensor:
        weights = weights * self._shared.scales
        projections = self._shared.project(V, block).unsqueeze(2)
        weighted = scaled(projections, weights[:, :, None]).flatten(2)
        sums = weighted @ self._shared.cores[block].mT.flatten(1, 2)
        weighted_V = scaled(V, weights.sum(1)[:, None])
        return torch.baddbmm(weighted_V, sums, self._shared.dictionary[block], alpha=-1)
