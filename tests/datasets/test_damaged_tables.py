"""Tables that programs and people spoil are read as a person would read them, or refused."""

import gzip

import pytest

from redunet.datasets import load, read_table

BINARY = "if it is compressed, a spreadsheet or another binary file"
ROWS = "a,b,y\n1,2,p\n3,4,q\n"


def write(folder, content, name="data.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a,b,y,\n1,2,p,\n3,4,q,\n",
        "a;b;y;\n1;2;p;\n3;4;q; \n",
        ROWS + ",,\n,,\n",
        ROWS + " , ,\n",
        "a,b,y\n1,2,p\n   \n3,4,q\n",
        'a,"b",y\n"1",2,"p"\n3,4,q',
    ],
    ids=["delimiters at the ends", "semicolons", "empty rows", "spaces", "blank line", "quotes"],
)
def test_what_holds_nothing_is_left_out(tmp_path, text):
    X, labels = found = read_table(write(tmp_path, text))
    assert X.tolist() == [[1, 2], [3, 4]]
    assert labels.tolist() == ["p", "q"]
    assert found.columns == ("a", "b")


@pytest.mark.parametrize("name", ["a;b", "a\tb", "a;\nb", "a,b"])
def test_delimiters_in_quotes_are_text(tmp_path, name):
    found = read_table(write(tmp_path, f'"{name}",b,y\n1,2,p\n3,4,q\n'))
    assert found.columns == (name, "b")


@pytest.mark.parametrize(
    "text",
    [
        'a,b,y\n1,2,"p\n3,4,q\n5,6,q\n',
        'a,b,y\n1,2,"p\n3,4,"q\n5,6,q\n',
        'a,b,y\n"1,2,p\n3,4,q\n',
        'a,b,y\n1,2,"p"x\n3,4,q\n',
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path, text):
    with pytest.raises(ValueError, match="the quotes of line"):
        read_table(write(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(ROWS.encode(), mtime=0), BINARY),
        (b"PK\x03\x04\x14\x00\x06", BINARY),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", BINARY),
        (b"PAR1\x15\x04\x15\x00", BINARY),
        (b"\x89HDF\r\n\x1a\n", BINARY),
        (ROWS.encode("utf-16-le"), 'line 1 has zero bytes: pass encoding="utf-16"'),
        ("a,b,y\n1,2,p\0\n3,4,p\n", "line 2 has zero bytes"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, content, message):
    for name in ("data.csv", "data.ts"):
        with pytest.raises(ValueError, match=message):
            load(write(tmp_path, content, name))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400])
def test_numbers_that_do_not_fit_are_not_infinite(tmp_path, number):
    for decimal in (".", ","):
        with pytest.raises(ValueError, match=f"must contain numbers, got '{number[:5]}"):
            read_table(write(tmp_path, ROWS.replace("1,", f"{number},")), decimal=decimal)


@pytest.mark.parametrize("header", [0, 1, None, "yes"])
def test_the_header_is_no_number_of_a_row(tmp_path, header):
    with pytest.raises(ValueError, match="header must be True, False or"):
        read_table(write(tmp_path, ROWS), header=header)


@pytest.mark.parametrize("label", [True, 1.0])
def test_the_position_of_the_labels_is_an_integer(tmp_path, label):
    with pytest.raises(TypeError, match="label must be an integer"):
        read_table(write(tmp_path, ROWS), label)


def test_columns_are_dropped_by_their_names(tmp_path):
    with pytest.raises(ValueError, match="drop names '0', but the features are 'a', 'b'"):
        read_table(write(tmp_path, ROWS), drop=[0])
