"""Numbers as text."""

import numpy as np

from redunet._tables import readable, three_digits, with_three_digits


def test_numbers_have_three_digits():
    numbers = (0.96, 1540.2, 1e-6, 0.000123, 99.96, 9.999, -0.5, 60.0, 123456.7, 0.0, 0.0999999)
    texts = ("0.960", "1540", "1.00e-06", "0.000123", "100", "10.0", "-0.500", "60.0", "123457")
    assert [three_digits(number) for number in numbers] == [*texts, "0", "0.100"]
    assert three_digits(float("nan")) == "nan"
    assert [readable(value) for value in (0.5, np.float32(0.5), 1234, [1, 8, 8], "0.123456")] == [
        "0.500",
        "0.500",
        "1,234",
        "1, 8, 8",
        "0.123456",
    ]
    assert readable(list("abcdefghijkl")) == "a, b, c, d, e, f, g, h, i, j, k, l"
    assert readable(list("abcdefghijklm")) == "a, b, c, d, e, f, … (13)"
    text = "Softmax(lam=0.023644079736219098, balanced=True)"
    assert with_three_digits(text) == "Softmax(lam=0.0236, balanced=True)"
    assert with_three_digits("Softmax(lam=500.0)") == "Softmax(lam=500.0)"
