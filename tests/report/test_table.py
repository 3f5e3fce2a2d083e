"""Tables of text."""

from resnet_compile.report.table import table


def test_numbers_stand_right_and_words_left() -> None:
    lines = table(["name", "count", "ms"], [["a", 5, 0.1234], ["long name", 12345, 1234.56], ["b", 0, 12.3]])
    assert lines.splitlines() == [
        "name        count       ms",
        "a               5    0.123",
        "long name  12,345  1,234.6",
        "b               0    12.30",
    ]


def test_what_is_not_known_is_a_dash() -> None:
    assert table(["a", "b"], [[None, "x"], [7, "y"]]).splitlines() == ["a  b", "-  x", "7  y"]


def test_small_numbers_keep_three_digits() -> None:
    values = (0.5, 0.05123, 0.00051234, 0.0, -0.0512)
    assert [table(["a"], [[value]]).splitlines()[1].strip() for value in values] == [
        *("0.500", "0.0512", "0.000512", "0.000", "-0.0512"),
    ]
