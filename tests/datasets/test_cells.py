"""Numbers, names and labels in the cells of tables."""

import unicodedata

import numpy as np
import pytest

from redunet.datasets import read_table

DECOMPOSED = unicodedata.normalize("NFD", "Käse")


def write(folder, text, encoding="utf-8"):
    path = folder / "t.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,5", "2"], [1.5, 2]),
        (["-0,25", "1,234"], [-0.25, 1.234]),
        (["0,123", "0,456"], [0.123, 0.456]),
        (["1,5e3", ",5"], [1500, 0.5]),
        (["\N{MINUS SIGN}1,5", "+2,5"], [-1.5, 2.5]),
    ],
)
def test_decimal_commas(tmp_path, mark, cells, values):
    text = "x,y;kind\n" + "".join(
        f"{cell};{kind}\n" for cell, kind in zip(cells, "ab", strict=True)
    )
    path = write(tmp_path, text.replace(";", mark))
    found = read_table(path)
    assert found[0][:, 0].tolist() == read_table(path, decimal=",")[0][:, 0].tolist() == values
    assert found.columns == ("x,y",)
    with pytest.raises(ValueError, match=r"'x,y' must contain numbers, got .*decimal=\","):
        read_table(path, decimal=".")


def test_decimal_commas_in_quotes(tmp_path):
    path = write(tmp_path, 'a,b,kind\n"1,5","2",x\n"2,5","3,25",y\n')
    assert read_table(path)[0].tolist() == [[1.5, 2], [2.5, 3.25]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["12_5", "1_25"], "got '12_5'"),
        (["1,234", "2,345"], "got '1,234' in line 2: pass decimal=\",\" .*thousands"),
        (["1,234,567", "2"], "got '1,234,567'"),
        (["1,5", "2.5"], "got '1,5' in line 2: pass decimal=\",\""),
        (["1,5", "1.234,5"], "got '1.234,5'"),
        (["1.234", "1.234,5"], "got '1.234,5'"),
        (["inf", "1"], "got 'inf'"),
        (["-Infinity", "1"], "got '-Infinity'"),
        (["0x1F", "1"], "got '0x1F'"),
        (["1 234", "1"], "got '1 234'"),
        (["1'234", "1"], 'got "1\'234"'),
        (["\N{FULLWIDTH DIGIT ONE}", "1"], "must contain numbers"),
        (["2020-01-01", "2020-01-02"], "got '2020-01-01'"),
        (["5%", "6%"], "got '5%'"),
        (["True", "False"], "got 'True'"),
        (["red", "blue"], "convert categories.* drop=, or say with label="),
    ],
)
def test_what_is_not_a_number_is_refused(tmp_path, cells, message):
    text = "code;b;kind\n" + "".join(f"{cell};1;x\n" for cell in cells)
    with pytest.raises(
        ValueError, match=f"t.csv: 'code' must contain numbers, .*{message}|{message}"
    ):
        read_table(write(tmp_path, text))


@pytest.mark.parametrize(
    "mark",
    ["", "?", "-", ".", "NA", "N/A", "n/a", "nan", "NaN", "None", "null", "NULL", "<NA>", "#N/A"],
)
@pytest.mark.parametrize("space", ["", " "])
def test_marks_of_missing_values_and_of_missing_labels_among_numbers(tmp_path, mark, space):
    cell = space + mark + space
    path = write(tmp_path, f"a,b,y\n1,2,0\n3,{cell},1\n5,6,1\n")
    with pytest.raises(ValueError, match=r"1 values are missing, in 'b' .*\(lines 3\)"):
        read_table(path)
    found = read_table(path, allow_missing=True)[0]
    np.testing.assert_array_equal(found, [[1, 2], [3, np.nan], [5, 6]])
    path = write(tmp_path, f"a,b,y\n1,2,0\n3,4,{cell}\n5,6,1.0\n")
    with pytest.raises(ValueError, match=r"labels are missing in 1 rows \(lines 3\): leave these"):
        read_table(path)


@pytest.mark.parametrize("mark", ["", "?", "nan", "NaN", "<NA>", "#N/A"])
def test_missing_labels_among_texts(tmp_path, mark):
    with pytest.raises(ValueError, match=r"labels are missing in 1 rows \(lines 3\)"):
        read_table(write(tmp_path, f"a,b,y\n1,2,cat\n3,4,{mark}\n5,6,dog\n"))


def test_classes_whose_names_look_like_missing_values(tmp_path):
    names = ["NA", "None", "null", "-", "+", "N/A", "none", "Nan", "NaT"]
    text = "a,country\n" + "".join(f"{number}.5,{name}\n" for number, name in enumerate(names))
    assert read_table(write(tmp_path, text))[1].tolist() == names
    assert read_table(write(tmp_path, "a,y\n1,-\n2,+\n"))[1].tolist() == ["-", "+"]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ("1 2 1", [1, 2, 1]),
        ("1.0 2.0 1", [1, 2, 1]),
        ("+1 -1 +1", [1, -1, 1]),
        ("007 8 9", ["007", "8", "9"]),
        ("1_0 2 3", ["1_0", "2", "3"]),
        ("1 b 2", ["1", "b", "2"]),
        ("True False True", ["True", "False", "True"]),
    ],
)
def test_labels_are_integers_or_texts(tmp_path, cells, labels):
    text = "a,y\n" + "".join(f"0.5,{cell}\n" for cell in cells.split())
    assert read_table(write(tmp_path, text))[1].tolist() == labels


@pytest.mark.parametrize(
    ("header", "label", "column"),
    [
        ("y,a,first", "last", 2),
        ("first,a,b", "first", 0),
        ("a,first,y", 1, 1),
        ("a,first,y", -1, 2),
        ("a,first,y", "-1", 2),
        ("a,first,y", "1", 1),
        ("a,2,y", "2", 1),  # a name comes before a position
        ("a,first,y", "y", 2),
        ("y,a,y", 0, 0),
        ("y,a,y", 2, 2),
        (" a , b , kind ", "b", 1),
        ("a,Käse,b", DECOMPOSED, 1),
        (f"a,{DECOMPOSED},b", "Käse", 1),
    ],
)
def test_the_column_of_the_labels(tmp_path, header, label, column):
    rows = [[5, 1, 0], [6, 2, 0], [5, 1, 1]]
    text = header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    X, labels = read_table(write(tmp_path, text), label)
    assert labels.tolist() == [row[column] for row in rows]
    assert X.tolist() == [[v for place, v in enumerate(row) if place != column] for row in rows]


@pytest.mark.parametrize(
    ("header", "label", "message"),
    [
        ("y,a,y", "y", "label='y' may be each of 2 columns: .* label=0 or label=2"),
        ("a,first,y", "first", "label='first' may be .* label=0 or label=1"),
        ("last,a,y", "last", "label='last' may be .* label=0 or label=2"),
        ("a,a,y", "y", "names of columns must differ: 'a' occurs twice: rename one"),
        ("a,b,y", 3, "label is column 3, but the table has 3 columns"),
        ("a,b,y", "Y", "got 'Y'; the first row has 'a', 'b', 'y'"),
        (f"Käse,{DECOMPOSED},y", "y", "names of columns must differ: 'Käse' occurs twice"),
    ],
)
def test_names_that_mean_two_columns_are_refused(tmp_path, header, label, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, header + "\n5,1,0\n6,2,1\n"), label)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le-bom", "cp1252", "latin-1"]
)
def test_encodings(tmp_path, encoding):
    text = "größe,kind\r\n1.5,Käse\r\n2.5,Öl\r\n"
    path = tmp_path / "t.csv"
    if encoding == "utf-16-le-bom":
        path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    else:
        path.write_bytes(text.encode(encoding))
    if encoding in ("cp1252", "latin-1", "utf-32"):
        refused = r't.csv: line 1 is not UTF-8: .*encoding="cp1252"|pass encoding=.* or "utf-32"'
        with pytest.raises(ValueError, match=refused):
            read_table(path)
        found = read_table(path, encoding=encoding)
    else:
        found = read_table(path)
    assert (found.columns, found[1].tolist()) == (("größe",), ["Käse", "Öl"])


def test_names_of_classes_are_composed(tmp_path):
    labels = read_table(write(tmp_path, f"a,y\n1,Käse\n2,{DECOMPOSED}\n3,Brot\n"))[1]
    assert labels.tolist() == ["Käse", "Käse", "Brot"]


def test_unknown_encodings_and_decimal_marks(tmp_path):
    path = write(tmp_path, "a,y\n1,x\n2,y\n")
    with pytest.raises(ValueError, match=r"t.csv: there is no encoding 'utf-9'"):
        read_table(path, encoding="utf-9")
    with pytest.raises(ValueError, match=r'decimal must be "\."'):
        read_table(path, decimal=";")
