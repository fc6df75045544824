"""Labelled samples of a file, with the names that the file gives them."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor


class LabelledSamples(tuple[Tensor, np.ndarray]):
    """A pair of samples and labels: ``X, labels = datasets.load(path)``.

    Attributes
    ----------
    columns : tuple of str or None
        The names of the columns of ``X``, in their order. None if the file does not name them.
    label : str or None
        The name of the column of the labels. None if the file does not name it.
    """

    columns: tuple[str, ...] | None
    label: str | None

    def __new__(
        cls,
        X: Tensor,
        labels: np.ndarray,
        *,
        columns: Sequence[str] | None = None,
        label: str | None = None,
    ) -> "LabelledSamples":
        """The pair ``(X, labels)`` with its names."""
        pair = super().__new__(cls, (X, labels))
        pair.columns = None if columns is None else tuple(columns)
        pair.label = label
        return pair
