import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer

from redunet.datasets import read_table

ROWS = "5.1,3.5,setosa\n7.0,3.2,versicolor\n6.3,2.5,setosa\n"
HEADER = "length,width,species\n"
X = [[5.1, 3.5], [7.0, 3.2], [6.3, 2.5]]
LABELS = ["setosa", "versicolor", "setosa"]


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def check(found, X=X, labels=LABELS):
    assert found[0].dtype == torch.float64
    assert found[0].tolist() == X
    assert found[1].tolist() == labels


@pytest.mark.parametrize(
    "header", ["", HEADER, '"length", "width", "species"\r\n', "\ufeff" + HEADER]
)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_with_and_without_a_header(tmp_path, header, mark):
    check(read_table(write(tmp_path, (header + ROWS).replace(",", mark))))


def test_the_labels_may_be_in_any_column(tmp_path):
    path = write(tmp_path, HEADER + ROWS)
    check(read_table(path, "species"))
    path = write(tmp_path, "\n".join(",".join(reversed(row.split(","))) for row in ROWS.split()))
    check(read_table(path, "first"), [row[::-1] for row in X])
    path = write(tmp_path, "length,species,width\n1,a,2\n3,b,4\n")
    check(read_table(str(path), label="species"), [[1, 2], [3, 4]], ["a", "b"])


@pytest.mark.parametrize(
    ("text", "samples", "labels"),
    [
        ("0,1,label\n5,6,1\n7,8,2\n", [[5, 6], [7, 8]], [1, 2]),  # numbers for names
        ("id,2019,label\n1,2,a\n3,4,b\n", [[1, 2], [3, 4]], ["a", "b"]),  # some of them
        ("1,2,1\n3,4,1\n", [[1, 2], [3, 4]], [1, 1]),  # no header
        ("1,2,A\n3,4,1\n5,6,A\n", [[1, 2], [3, 4], [5, 6]], ["A", "1", "A"]),  # no header
        ("a,b,c\n1,2,x\n", [[1, 2]], ["x"]),
        ("1,2,x\n\n3,4,x\n\n", [[1, 2], [3, 4]], ["x", "x"]),  # empty lines
        ("a,b,c\n1,2,none\n3,4,NA\n", [[1, 2], [3, 4]], ["none", "NA"]),
        ('a,b,c\n1,2,"one, two"\n', [[1, 2]], ["one, two"]),
        ("t,c\n1700000000.25,1\n1700000000.5,2\n", [[1700000000.25], [1700000000.5]], [1, 2]),
    ],
)
def test_what_is_a_header_and_what_is_a_label(tmp_path, text, samples, labels):
    check(read_table(write(tmp_path, text)), samples, labels)


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("", "last", "data.csv: the table is empty"),
        (HEADER, "last", "the table has a header, but no samples"),
        ("1 2 3\n4 5 6\n", "last", "separated by tabs, semicolons or commas, got one column"),
        (HEADER + "1,2\n", "last", "line 2 has 2 cells, the first row has 3"),
        (
            HEADER + ROWS,
            "name",
            "the name of a column, got 'name'; the first row has 'length', 'width', 'species'",
        ),
        (
            "a,colour,size,label\n1,red,L,x\n2,blue,M,y\n",
            "last",
            "'colour', 'size' must contain numbers, got 'red' in line 2: convert categories",
        ),
        ("1,2,x\n3,two,x\n", "last", "'column 2' must contain numbers, got 'two' in line 2"),
        (HEADER + "1,2,x\n3,4,\n", "last", r"labels are missing in 1 rows \(lines 3\)"),
        (
            "class,a,b\n1,0.5,2.5\n2,0.25,3.5\n",
            "last",
            "labels must be integers or names of classes, got 2.5 in 'b': say with label= which",
        ),
        (",a,b,c\n0,1,2,x\n1,3,4,y\n", "last", "column 1 of the features has no name: .*pandas"),
        ("a,b\n1,\0\n" + "x" * 200_000 + ",1\n", "last", "data.csv: "),  # not for the csv module
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, label, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, text), label)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b\n1,2\n\xff\x00,1\n")
    with pytest.raises(ValueError, match=r'data.csv: line 3 is not UTF-8: .* encoding="cp1252"'):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")


def test_missing_values_are_refused_unless_they_are_asked_for(tmp_path):
    path = write(tmp_path, "a,b,c,label\n1,,3,x\n4,5,6,y\n7,?,nan,x\n10,11,12,y\n")
    with pytest.raises(
        ValueError,
        match=r"3 values are missing, in 'b', 'c' and in 2 of 4 rows \(lines 2, 4\): delete them, "
        r"or .* allow_missing=True\) and fill them, for example with sklearn.impute.SimpleImputer",
    ):
        read_table(path)
    samples, labels = read_table(path, allow_missing=True)
    expected = [[1, np.nan, 3], [4, 5, 6], [7, np.nan, np.nan], [10, 11, 12]]
    np.testing.assert_array_equal(samples, expected)
    assert labels.tolist() == ["x", "y", "x", "y"]
    assert SimpleImputer().fit_transform(samples)[0].tolist() == [1, 8, 3]


def test_long_lists_of_lines_are_cut(tmp_path):
    text = "a,b,label\n" + "".join(f",{row},x\n" for row in range(10))
    with pytest.raises(ValueError, match=r"10 of 10 rows \(lines 2, 3, 4, 5, 6, … \(10 in all\)\)"):
        read_table(write(tmp_path, text))


def test_the_names_of_columns_come_with_the_samples(tmp_path):
    text = "length,species,width\n1,a,2\n3,b,4\n"
    found = read_table(write(tmp_path, text), "species")
    check(found, [[1, 2], [3, 4]], ["a", "b"])
    assert (found.columns, found.label) == (("length", "width"), "species")
    found = read_table(write(tmp_path, ROWS))
    assert (found.columns, found.label) == (None, None)
