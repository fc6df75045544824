"""Names of features and of the label, which travel from tables to networks and their files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor

from redunet._checks import Array, as_tensor, quoted

Data = TypeVar("Data")


@runtime_checkable
class Frame(Protocol):
    """A frame of pandas or polars."""

    @property
    def columns(self) -> Sequence[object]:
        """The names of the columns."""

    def __len__(self) -> int:
        """The number of samples."""

    def __getitem__(self, names: list[object]) -> Self:
        """A frame of some columns."""


class Names(NamedTuple):
    """The names of the columns or channels of samples, and the name of their labels.

    Attributes
    ----------
    features : tuple of str or None
        Names of the columns of a table, or of the channels of signals, in their order. None if they
        have no names.
    label : str or None
        Name of the labels.
    """

    features: tuple[str, ...] | None = None
    label: str | None = None

    @classmethod
    def from_data(cls, X: object, labels: object, features: Sequence[str] | None = None) -> Self:
        """The names of samples and labels: those that are given, or those of frames and series.

        Raises
        ------
        ValueError
            If a name occurs twice, names that are given differ from those of a frame, or a column
            of the frame holds the labels.
        """
        found = column_names(X)
        if found is not None and found == _numbered(found):
            found = None
        if isinstance(features, str):
            raise TypeError(f"feature_names must be a list of names, got {features!r}")
        given = found if features is None else tuple(map(str, features))
        if found is not None and given != found:
            raise ValueError(
                f"feature_names are {quoted(given or ())}, but the frame has the columns "
                f"{quoted(found)}: leave feature_names out"
            )
        if given is not None:
            check_distinct(given)
        name = getattr(labels, "name", None)
        label = None if name in (None, "") else str(name)  # polars has empty names
        if isinstance(X, Frame) and found and label in found:
            _check_label(X[[X.columns[found.index(label)]]], labels, label)
        names = cls(given, label)
        shape = getattr(X, "shape", ())
        if len(shape) > 1:
            names.check(shape[1:])
        return names

    def check(self, sample_shape: Sequence[int]) -> None:
        """Raise ValueError unless there is a name for each column or channel of a sample."""
        if self.features is not None and len(self.features) != sample_shape[0]:
            raise ValueError(
                f"feature_names must have {sample_shape[0]} names, one for each column or channel "
                f"of samples of shape {tuple(sample_shape)}, got {len(self.features)}"
            )

    def in_order(self, X: Data) -> Data:
        """A frame with the columns of the construction, in their order; other arrays as they are.

        See :meth:`positions`.
        """
        places = self.positions(column_names(X))
        if places is None or not isinstance(X, Frame):
            return X
        return X[[X.columns[place] for place in places]]

    def positions(self, found: Sequence[str] | None) -> list[int] | None:
        """The positions of the columns of the construction among these; None if they are the same.

        The column of the labels is left out if it is there. Columns without names, which a frame
        numbers, are taken as they stand.

        Raises
        ------
        ValueError
            If columns are missing, other columns are there, or one occurs twice.
        """
        if found is None:
            return None
        found, numbered = tuple(found), _numbered(found)
        wanted = numbered if self.features is None else self.features
        if self.features is None and sorted(found) != sorted(numbered):
            return None  # the network was constructed from an array
        if found in (wanted, numbered) and len(found) == len(wanted):
            return None
        surplus = [name for name in found if name not in {*wanted, self.label}]
        missing = [name for name in wanted if name not in found]
        if surplus or missing:
            parts = [f"{quoted(missing)} missing"] * bool(missing)
            parts += [f"{quoted(surplus)} not known"] * bool(surplus)
            raise ValueError(
                f"X must have the columns of the construction, {quoted(wanted)}: "
                f"{' and '.join(parts)}"
            )
        check_distinct(name for name in found if name in wanted)
        return [found.index(name) for name in wanted]


def column_names(X: object) -> tuple[str, ...] | None:
    """The names of the columns of a frame; None for other arrays."""
    if isinstance(X, Tensor) or not isinstance(X, Frame):  # a graph takes tensors alone
        return None
    return tuple(map(str, X.columns))


def as_row(x: Array) -> Array:
    """One sample ``(*sample_shape)`` with an axis of samples; it may be a row of a frame."""
    if isinstance(x, Frame) and len(x) == 1:
        return x
    to_frame = getattr(x, "to_frame", None)
    return as_tensor(x)[None] if to_frame is None else to_frame().T


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """The names 0, 1, … that frames give to columns without names."""
    return tuple(map(str, range(len(names))))


def _check_label(column: Frame, labels: object, name: str) -> None:
    """Raise ValueError if a column of the samples equals the labels."""
    values, others = (np.asarray(part).astype(str).ravel() for part in (column, labels))
    if np.array_equal(values, others):
        raise ValueError(
            f"the column {name!r} of X holds the labels: leave it out, for example with "
            f"X.drop(columns={name!r})"
        )


def check_distinct(names: Iterable[str]) -> None:
    """Raise ValueError if a name occurs twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"names of columns must differ: {quoted(twice)} occurs twice: rename one")
