import argparse

import pytest

from rendersight import flags


def test_parses_values() -> None:
    assert flags.names("a, b,,c ") == ("a", "b", "c")
    assert flags.names('"nut, M8", bolt') == ("nut, M8", "bolt")
    awkward = ("nut, M8", '3" pipe', "plain")
    assert flags.names(flags.joined(awkward)) == awkward
    assert [flags.count("0"), flags.positive("1"), flags.score("0"), flags.score("1")] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("take", "text"),
    [
        (flags.names, "a,a"),
        (flags.names, ","),
        (flags.count, "-1"),
        (flags.positive, "0"),
        (flags.score, "1.01"),
        (flags.score, "nan"),
    ],
)
def test_rejects_values(take: object, text: str) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("value", type=take)
    with pytest.raises(SystemExit):
        parser.parse_args([text])


def test_tiles_are_a_choice_or_a_number() -> None:
    assert [flags.tiles(text) for text in ("auto", "off", "6")] == ["auto", "off", 6]
    for text in ("0", "-1", "1000", "abc"):
        with pytest.raises(argparse.ArgumentTypeError, match="accepted: auto, off, or a whole number from 1 to 64"):
            flags.tiles(text)
