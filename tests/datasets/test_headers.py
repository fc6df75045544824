"""Tables whose first row may be a header or a sample."""

import numpy as np
import pytest

from redunet import ReduNetWarning
from redunet.datasets import read_table

SPECIES = ["a", "b", "a", "b", "c", "c"]
INTEGERS = [0, 1, 0, 1, 2, 2]
VALUES = np.random.default_rng(0).normal(size=(6, 4)).round(3)


def write(folder, header, values, labels, *, index=False, mark=","):
    """A table as pandas writes it."""
    rows = [
        [*map(repr, row.tolist()), str(label)] for row, label in zip(values, labels, strict=True)
    ]
    if index:
        rows = [[str(number), *row] for number, row in enumerate(rows)]
    path = folder / "t.csv"
    rows = rows if header is None else [[*map(str, header)], *rows]
    path.write_text("".join(mark.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("header", "labels"),
    [
        ([400, 410, 420, 430, "label"], INTEGERS),  # text above numbers
        (["a", "b", "c", "d", "e"], SPECIES),
        (["a", 2019, "b", "c", "e"], SPECIES),
        (["Gehalt [%]", "1st", "2.5-D", "d", "e"], INTEGERS),
    ],
)
def test_headers_are_seen(tmp_path, header, labels, mark):
    found = read_table(write(tmp_path, header, VALUES, labels, mark=mark))
    assert found[0].tolist() == VALUES.tolist()
    assert found[1].tolist() == labels
    assert found.columns == tuple(map(str, header[:-1]))
    assert found.label == str(header[-1])


@pytest.mark.parametrize(
    ("header", "labels"),
    [
        ([0, 1, 2, 3, "species"], SPECIES),
        ([400.5, 401.0, 401.5, 402.0, "species"], SPECIES),
        ([2019, 2020, 2021, 2022, "class"], SPECIES),
        ([2022, 2021, 2020, 2019, "y"], SPECIES),
        ([-2, -1, 0, 1, "label"], SPECIES),
        (["1e-3", "2e-3", "3e-3", "4e-3", "label"], SPECIES),
        ([1012, 17, 903, 44, "species"], SPECIES),  # sensors without order
        ([0.5, 0.1, 0.9, 0.2, "species"], SPECIES),
        ([5, 6, 7, 8, 9], INTEGERS),  # the names of all columns are numbers
        ([0, 1, 2, 3, 4], INTEGERS),
        ([0, 1, 2, 3, 4], SPECIES),
        ([10, 20, 30, 40, 50], SPECIES),
        ([10, 3, 7, 5, 9], INTEGERS),
        ([5, 6, 7, 8, 0], INTEGERS),  # the name of the labels is one of them
    ],
)
def test_headers_of_numbers_must_be_confirmed(tmp_path, header, labels):
    path = write(tmp_path, header, VALUES, labels)
    with pytest.raises(ValueError, match=r"may be the names .* header=True .*--header yes or no"):
        read_table(path)
    name = str(header[-1])
    ways = [{"header": True}, {"header": True, "label": name}]
    for way in [*ways, {"label": name}] if name.isalpha() else ways:
        found = read_table(path, **way)
        assert found[0].tolist() == VALUES.tolist()
        assert found[1].tolist() == labels
        assert found.columns == tuple(map(str, header[:-1]))
    assert len(read_table(path, header=False)[1]) == 7


@pytest.mark.parametrize(
    ("text", "label", "column"),
    [
        ("5,2,0\n7,2,1\n8,2,0\n", "2", 2),
        ("5,2,0\n7,2,1\n8,2,0\n", "-1", 2),
        ("first,2,4\nfirst,3,5\n", "first", 0),
    ],
)
def test_a_position_does_not_make_a_header(tmp_path, text, label, column):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    rows = [row.split(",") for row in text.split()]
    assert read_table(path, label)[1].astype(str).tolist() == [row[column] for row in rows]
    path.write_text("5,2,0\n7,3,1\n8,4,0\n", encoding="utf-8")
    if label == "2":
        with pytest.raises(ValueError, match="may be the names of the columns"):
            read_table(path, label)


@pytest.mark.parametrize("labels", [SPECIES, INTEGERS])
@pytest.mark.parametrize("values", [VALUES, np.arange(24).reshape(6, 4) ** 2, np.ones((6, 4))])
def test_tables_without_a_header_keep_all_samples(tmp_path, values, labels):
    found = read_table(write(tmp_path, None, values, labels))
    assert found[0].tolist() == values.tolist()
    assert found[1].tolist() == labels
    assert found.columns is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("0,1\n5,1\n", "last"),  # the names 0, 1, … of pandas
        ("1,2,3\n9,7,3\n9,1,2\n", None),
        ("5,6,7,1\n9,7,3,1\n", "last"),  # equal steps
        ("1,2,x\n3,4,y\n", "last"),
        ("1,2,x\n", "last"),
    ],
)
def test_a_sample_that_might_be_a_header_must_be_confirmed(tmp_path, text, label):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"the first row .* may be .* or a sample"):
        read_table(path, label)
    assert len(read_table(path, label, header=False)[0]) == len(text.splitlines())


@pytest.mark.parametrize(
    "header", [[0, 1, 2, 3, 4], [0, 1, 2, 3, "label"], ["a", "b", "c", "d", "e"]]
)
@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
@pytest.mark.parametrize("labels", [SPECIES, INTEGERS])
def test_an_index_of_pandas_is_refused_or_left_out(tmp_path, header, name, labels):
    path = write(tmp_path, [name, *header], VALUES, labels, index=True)
    with pytest.raises(
        ValueError, match=rf"column 1 of the features has no name: .*drop=\['{name}'\]"
    ):
        read_table(path, header=True)
    with pytest.raises(ValueError, match=r"has no name|may be the names of the columns"):
        read_table(path)
    found = read_table(path, drop=[name], header=True)
    assert found[0].tolist() == VALUES.tolist()
    assert found.columns == tuple(map(str, header[:-1]))


def test_a_column_that_counts_the_rows_is_a_warning(tmp_path):
    values = np.column_stack([np.arange(1, 13), np.tile(VALUES[:, 0], 2)])
    path = write(tmp_path, ["id", "size", "kind"], values, SPECIES * 2)
    with pytest.warns(ReduNetWarning, match=r"column 'id' counts the rows: .* drop=\['id'\]"):
        read_table(path)
    assert read_table(path, drop=["id"])[0].tolist() == values[:, 1:].tolist()
    assert read_table(path, drop="id").columns == ("size",)
    with pytest.raises(ValueError, match=r"drop names 'Id', but the features are 'id', 'size'"):
        read_table(path, drop=["Id"])


def test_values_of_header_are_checked(tmp_path):
    path = write(tmp_path, ["a", "b", "c", "d", "e"], VALUES, SPECIES)
    with pytest.raises(ValueError, match="header must be True, False or \"auto\", got 'yes'"):
        read_table(path, header="yes")
    with pytest.raises(ValueError, match="the name of a column, got 'e'"):
        read_table(path, "e", header=False)
