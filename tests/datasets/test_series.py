import unicodedata

import numpy as np
import pytest
import torch
from torch.nn import functional

from redunet import RandomCirculantLift, ReduNet
from redunet.datasets import load, pad_series, read_ts

TS = """# Comments, and lines that describe the data
%# are ignored.
@problemName Walks
@TIMESTAMPS False
@missing false
@univariate false
@dimensions 2
@equalLength false
@classlabel True walk run

@data
1.0,2.0,3.0:4,5,-6e-1:walk
# one more comment
 1,2 : 7,9 : run
"""


def unequal(*lengths, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [5 + torch.randn(channels, length, generator=generator) for length in lengths]


def test_a_short_series_is_continued_by_its_mean():
    parts = unequal(7, 4, 5)
    X = pad_series(parts, fill="mean")
    assert X.shape == (3, 2, 7)
    for x, part in zip(X, parts, strict=True):
        length = part.shape[1]
        assert torch.equal(x[:, :length], part)
        expected = part.mean(1, keepdim=True).expand(2, 7 - length)
        torch.testing.assert_close(x[:, length:], expected)
        torch.testing.assert_close(x.mean(1), part.mean(1))


def test_padding_leaves_no_step_beside_a_level():
    parts = unequal(9, 6, 3)
    raised = pad_series([part + 1000 for part in parts], fill="mean")
    torch.testing.assert_close(raised - 1000, pad_series(parts, fill="mean"), rtol=0, atol=1e-3)


def test_kernels_that_sum_to_zero_respond_only_at_the_joints():
    short, longest = unequal(8, 30, channels=1)
    X = pad_series([short, longest], fill="mean")
    kernels = torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(1))
    kernels -= kernels.mean(2, keepdim=True)
    responses = functional.conv1d(functional.pad(X, (2, 2), mode="circular"), kernels)
    inside = responses[0, :, 8 + 2 : 30 - 2]  # no kernel there reaches a value of the series
    torch.testing.assert_close(inside, torch.zeros_like(inside), rtol=0, atol=1e-5)
    assert responses[0, :, 8].abs().min() > 1e-3
    zeros = functional.pad(short, (0, 22))
    steps = functional.conv1d(functional.pad(zeros, (2, 2), mode="circular"), kernels)
    assert steps[:, [8, 29]].abs().amax() > 2 * responses[0, :, [8, 29]].abs().amax()


def test_a_network_of_unequal_series():
    parts = unequal(20, 14, 17, 20, 12, 19, 20, 15, channels=1)
    labels = [0, 1] * 4
    X = pad_series(parts)
    lift = RandomCirculantLift(1, 8, 3, ndim=1)
    net = ReduNet.construct(X, labels, lift=lift, num_layers=1)
    torch.testing.assert_close(
        net.residual_norms(X.roll(3, 2)), net.residual_norms(X), rtol=1e-4, atol=1e-5
    )
    assert net(pad_series(parts[:1], 20)).shape[0] == 1


def test_series_of_one_channel_of_any_type():
    X = pad_series([[1, 2, 3], (4,), np.array([5.0, 6.0])])
    assert X.tolist() == [[[1, 2, 3]], [[4, 0, 0]], [[5, 6, 0]]]
    assert pad_series([np.ones(3, np.float32), np.ones(2, np.float32)]).dtype == torch.float32
    assert pad_series([np.ones(3), np.ones(2)]).dtype == torch.float64
    assert pad_series([np.ones(3, np.float32), np.ones(2)]).dtype == torch.float64
    assert pad_series(np.ones((4, 2, 3))).shape == (4, 2, 3)


def test_the_length_of_the_result():
    assert pad_series([[1.0, 3.0]], length=4).tolist() == [[[1, 3, 0, 0]]]
    with pytest.raises(
        ValueError, match="series 1 has 3 values, but length is 2: pass a length of"
    ):
        pad_series([[1.0], [1.0, 2.0, 3.0]], length=2)


def test_a_fixed_value_may_continue_the_series():
    parts = [[[1.0, 3.0], [5.0, 5.0]], [[2.0], [7.0]]]
    assert pad_series(parts)[1].tolist() == [[2, 0], [7, 0]]
    assert pad_series(parts, 3, fill=np.float32(-1))[1].tolist() == [[2, -1, -1], [7, -1, -1]]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "expected at least one series, got none"),
        (
            [[1.0], [[1.0, 2.0], [3.0, np.nan]]],
            r"series 1 must be finite: 1 of 4 values are not; .* nan at index \(1, 1\)",
        ),
        ([[1.0], [np.inf]], "series 1 must be finite"),
        ([[1.0], []], "series 1 has no values"),
        ([[1.0], np.ones((2, 3))], r"\(1, 1\) for series 0 and \(2, 3\) for series 1"),
        ([np.ones((1, 1, 3))], r"shape \(T_i,\) or \(C, T_i\), got \(1, 1, 3\) for series 0"),
    ],
)
def test_series_that_cannot_be_padded(parts, message):
    with pytest.raises(ValueError, match=message):
        pad_series(parts)


def write(folder, text, name="walks.ts"):
    path = folder / name
    path.write_text(text)
    return path


def test_a_ts_file(tmp_path):
    path = write(tmp_path, TS)
    X, labels = read_ts(path)
    assert X.dtype == torch.float32
    expected = [[[1, 2, 3], [4, 5, -0.6]], [[1, 2, 0], [7, 9, 0]]]
    torch.testing.assert_close(X, torch.tensor(expected))
    assert labels.tolist() == ["walk", "run"]
    assert read_ts(str(path), length=5)[0].shape == (2, 2, 5)
    assert read_ts(path, fill="mean")[0][1].tolist() == [[1, 2, 1.5], [7, 9, 8]]


def test_labels_of_a_ts_file_may_be_integers(tmp_path):
    X, labels = read_ts(write(tmp_path, "@classLabel true 1 2\n@data\n1,2:2\n3,4:1\n"))
    assert X.tolist() == [[[1, 2]], [[3, 4]]]
    assert labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.0", "?", r"walks.ts: series 0 must be finite: .* nan at index \(0, 1\)"),
        ("2.0", "NaN", "walks.ts: series 0 must be finite: 1 of 6 values"),
        ("2.0", "two", "walks.ts: line 12: expected numbers, got 'two'"),
        ("2.0", "1_0", "walks.ts: line 12: expected numbers, got '1_0'"),
        ("2.0", "inf", "walks.ts: line 12: expected numbers, got 'inf'"),
        (",2.0", "", r"line 12: all channels of a sample .* same length, got \[2, 3\]"),
        ("7,9 :", "", "walks.ts: series must have shape .* the same number of channels"),
        (": run", "", "line 14: .* one of the classes walk, run, .* got the class '7,9'"),
        ("run\n\n@data", "run", "walks.ts: expected series in the lines after @data"),
        ("True walk run", "false", "such as '@classLabel true walk run', got false"),
        ("True walk run", "true", "walk run', got true"),
        ("@classlabel True walk run", "@targetLabel true", "walk run', got no such line"),
        ("@TIMESTAMPS False", "@timeStamps TRUE", "walks.ts: the series have time stamps"),
        ("walk\n# one", "stand\n# one", "classes walk, run, separated by colons, got .* 'stand'"),
    ],
)
def test_ts_files_that_cannot_be_read(tmp_path, old, new, message):
    assert TS.count(old) == 1
    with pytest.raises(ValueError, match=message):
        read_ts(write(tmp_path, TS.replace(old, new)))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("classes", ["Öl Käse Brot", "ä ö gut"])
def test_names_of_classes_in_another_encoding_are_refused_or_kept(tmp_path, classes, encoding):
    names = classes.split()
    rows = "".join(f"{number},2:{name}\n" for number, name in enumerate(names))
    path = tmp_path / "a.ts"
    path.write_bytes(f"% Wet\n@classLabel true {classes}\n@data\n{rows}".encode(encoding))
    with pytest.raises(ValueError, match=r'a\.ts: line 2 is not UTF-8: .* encoding="cp1252"'):
        read_ts(path)
    assert read_ts(path, encoding=encoding)[1].tolist() == names
    assert load(path, encoding=encoding)[1].tolist() == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(tmp_path, encoding, end):
    decomposed = unicodedata.normalize("NFD", "Käse")
    text = f"@classLabel true Käse Brot\n@data\n1,2:{decomposed}\n3,4:Brot\n5,6:Käse\n"
    path = tmp_path / "a.ts"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    assert read_ts(path)[1].tolist() == ["Käse", "Brot", "Käse"]


@pytest.mark.parametrize("level", [1.7e9, -2e12, 3.5e7])
@pytest.mark.parametrize("rows", [["wave", "wave"], ["flat", "higher"]])
def test_values_on_a_high_level_stay_different(tmp_path, level, rows):
    shapes = {
        "wave": np.round(10 * np.sin(np.arange(16))),
        "flat": np.zeros(16),
        "higher": np.ones(16),
    }
    series = [level + shapes[row] for row in rows]
    lines = "".join(
        ",".join(f"{value:.0f}" for value in values) + f":{name}\n"
        for values, name in zip(series, "ab", strict=True)
    )
    X, _ = read_ts(write(tmp_path, f"@classLabel true a b\n@data\n{lines}"))
    np.testing.assert_array_equal(X[:, 0], series)
    assert X.dtype == torch.float64


def test_values_that_float32_can_hold_stay_in_float32(tmp_path):
    lines = "100.125,100.25,100.5:a\n7,7,7:a\n1e-20,2e-20,1e-19:b\n"
    X, _ = read_ts(write(tmp_path, f"@classLabel true a b\n@data\n{lines}"))
    assert X.dtype == torch.float32


@pytest.mark.parametrize("fill", [np.nan, np.inf, None, np.zeros(2), "zeros"])
def test_series_are_not_continued_by_nothing(fill):
    with pytest.raises(ValueError, match='fill must be a finite number or "mean"'):
        pad_series([np.ones((2, 3)), np.ones((2, 2))], fill=fill)
