"""Samples and labels from a file or a folder of any kind."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from redunet._checks import as_samples
from redunet.datasets.folders import image_folder
from redunet.datasets.series import Fill, read_ts
from redunet.datasets.tables import LabelledSamples, read_table


def load(
    path: str | os.PathLike[str],
    *,
    label: str | int | None = "last",
    header: bool | Literal["auto"] = "auto",
    drop: Sequence[str] = (),
    decimal: Literal[".", ",", "auto"] = "auto",
    encoding: str | None = None,
    length: int | None = None,
    fill: Fill = 0.0,
    size: int | tuple[int, int] = (32, 32),
    color: bool = False,
) -> LabelledSamples:
    """Samples and labels from a file or a folder.

    Parameters
    ----------
    path : str or path
        A table (``.csv``, ``.tsv`` or ``.txt``; see :func:`read_table`), time series (``.ts``; see
        :func:`read_ts`), an ``.npz`` file with arrays ``X`` and ``y``, or a folder that contains
        one folder of images per class (see :func:`image_folder`). No code in the file is run.
    label, header, drop, decimal : optional
        For tables: the column of the labels, whether the first row names the columns, columns that
        are left out, and the decimal mark; see :func:`read_table`. ``label=None`` is for tables
        and ``.npz`` files without labels.
    encoding : str, optional
        For tables and ``.ts`` files: the encoding of the text, if it is not UTF-8.
    length, fill : optional
        For ``.ts`` files: how short series are continued; see :func:`pad_series`.
    size : int or tuple of int
        For images: height and width of the result.
    color : bool
        For images: whether the result has three channels.

    Returns
    -------
    X : Tensor of shape (m, n), (m, C, T), (m, C, H, W), …
    labels : numpy array (m,)

    The pair has attributes ``columns`` and ``label``: the names in the header of a table, or None.

    Raises
    ------
    ValueError
        If the file is of another kind, or cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        return LabelledSamples(*image_folder(path, size, color=color))
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv", ".txt"):
        return read_table(path, label, header=header, drop=drop, decimal=decimal, encoding=encoding)
    if ending == ".ts":
        return LabelledSamples(*read_ts(path, length=length, fill=fill, encoding=encoding))
    if ending == ".npz":
        arrays = _read_npz(path, ["X"] if label is None else ["X", "y"])
        return LabelledSamples(as_samples(arrays["X"]), None if label is None else arrays["y"])
    raise ValueError(
        f"{path} should be a folder of images, or a file that ends in .csv, .tsv, .txt, .ts or .npz"
    )


def _read_npz(path: Path, wanted: list[str]) -> dict[str, np.ndarray]:
    """The arrays of a file, which must have these names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an .npz file of plain arrays") from error
    if not arrays.keys() >= set(wanted):
        raise ValueError(
            f"{path} should contain arrays {' and '.join(wanted)}, it contains "
            f"{', '.join(arrays) or 'none'}"
        )
    return arrays
