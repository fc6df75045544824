"""Operators from one dictionary."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from redunet.layers.operators.operator import Operator, real_form
from redunet.layers.operators.responses import (
    ALL,
    Responses,
    ResponsesByClass,
    select_classes,
    select_samples,
)
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

    def coefficients(self, projections: Tensor, frequencies: slice = ALL) -> Tensor:
        """K_j Γ* v for all j, ``(F, m, q)`` to ``(F, m, k, q)``."""
        cores = self.cores[frequencies]
        return (projections @ cores.flatten(1, 2).mT).unflatten(2, cores.shape[1:3])

    def respond(self, V: Tensor, frequencies: slice = ALL) -> Tensor:
        """The products of every sample with all matrices, ``(F, m, k, C)``."""
        coefficients = self.coefficients(self.project(V, frequencies), frequencies)
        in_class = coefficients @ self.dictionary[frequencies].unsqueeze(1)
        return scaled(V.unsqueeze(2) - in_class, self.scales[:, None])

    def responder(self) -> Callable[[Tensor], Responses]:
        """A function that maps blocks of samples ``(F, m, C)`` to their responses."""
        forms: Forms = {}
        return lambda V: DictionaryResponses(V, self, forms)

    def real_form(self) -> "DictionaryOperator":
        """The same matrices on real and imaginary parts ``(F, m, 2C)``, of twice the atoms."""
        twice = 2 if self.dictionary.is_complex() else 1
        return DictionaryOperator(
            real_form(self.dictionary.conj()),
            real_form(self.cores),
            self.codes.repeat(1, 1, twice),
            self.scales.clone(),
        )

    def coherence(self, frequencies: slice = ALL) -> Tensor:
        """Γ*Γ, ``(F, q, q)``."""
        return coherence(self.dictionary[frequencies])

    def forms(self, frequencies: slice) -> Tensor:
        """N_j with ‖v − Γ K_j Γ* v‖² = ‖v‖² − Re (Γ*v)* N_j Γ*v, ``(F_b, k, q, q)``."""
        cores = self.cores[frequencies]
        return 2 * cores - cores.mH @ self.coherence(frequencies).unsqueeze(1) @ cores

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        frequencies, atoms, channels = self.dictionary.shape
        return f"frequencies={frequencies}, count={self.count}, channels={channels}, atoms={atoms}"


# The matrices of DictionaryOperator.forms, by the first and last frequency of a block.
Forms = dict[tuple[int, int], Tensor]


class DictionaryResponses(ResponsesByClass):
    """Responses to operators that share a dictionary.

    Many samples on a CPU take the norms from :meth:`DictionaryOperator.forms`. Otherwise
    norms and sums share the coefficients K_j Γ* v.

    Parameters
    ----------
    V : Tensor of shape (F, m, C)
        Samples.
    operator : DictionaryOperator
    forms : dict
        The forms for blocks of frequencies, which are added when they are needed first.
    """

    def __init__(self, V: Tensor, operator: DictionaryOperator, forms: Forms):
        super().__init__(V, operator)
        self._shared = operator
        self._forms = forms
        single = len(self.blocks) == 1
        self._projections = operator.project(V) if single else None
        self._all = None
        if self._projections is not None and not (self._reads and V.shape[1] > operator.atoms):
            self._all = operator.coefficients(self._projections)

    def norms(self) -> Tensor:
        """‖Cʲ v‖ over all frequencies and channels, ``(m, k)``.

        The residual is the root of a difference of squares. For a sample close to its class, the
        error is of order √eps, which is far too small to confuse the class with another class.
        """
        in_class = total(self._squared_norms_in_class(block) for block in self.blocks)
        residuals = squared_norms(self._V, dim=0)[:, None] - in_class
        return self._shared.scales * safe_sqrt(residuals)

    def _squared_norms_in_class(self, block: slice) -> Tensor:
        """‖v‖² − ‖v − Γ K_j Γ* v‖², ``(m, k)``."""
        projections = self._projected(block, ALL)
        if self._all is not None:
            explained = self._all @ self._shared.coherence(block).mT.unsqueeze(1)
            rest = 2 * projections.unsqueeze(2) - explained
            return (self._all.conj() * rest).real.sum((0, 3))
        key = block.start, block.stop
        if key not in self._forms:
            self._forms[key] = self._shared.forms(block)
        products = projections.unsqueeze(1) @ self._forms[key].mT  # (F_b, k, m, q)
        return (projections.conj().unsqueeze(1) * products).real.sum((0, 3)).mT

    def _projected(self, block: slice, samples: Tensor | slice) -> Tensor:
        """Γ* v for some of the samples, ``(F_b, …, q)``."""
        if self._projections is not None:
            return select_samples(self._projections, samples)
        V, atoms = select_samples(self._V[block], samples), self._shared.dictionary[block].mH
        return V @ (atoms if V.ndim == 3 else atoms.unsqueeze(1))

    def _respond_by_class(self, block: slice, samples: Tensor, classes: Tensor) -> Tensor:
        cores = select_classes(self._shared.cores[block], classes)
        coefficients = self._projected(block, samples) @ cores.mT
        in_class = coefficients @ self._shared.dictionary[block].unsqueeze(1)
        scales = self._shared.scales[classes, None, None]
        return scaled(select_samples(self._V[block], samples) - in_class, scales)

    def _weighted_sum(self, block: slice, samples: Tensor | slice, weights: Tensor) -> Tensor:
        V, weights = select_samples(self._V[block], samples), weights * self._shared.scales
        weighted_V = scaled(V, weights.sum(1)[:, None])
        if self._all is not None:
            sums = scaled(select_samples(self._all, samples), weights[:, :, None]).sum(2)
        else:
            projections = self._projected(block, samples).unsqueeze(2)
            weighted = scaled(projections, weights[:, :, None]).flatten(2)
            sums = weighted @ self._shared.cores[block].mT.flatten(1, 2)
        return torch.baddbmm(weighted_V, sums, self._shared.dictionary[block], alpha=-1)
