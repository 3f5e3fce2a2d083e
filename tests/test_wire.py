"""The wire format: right messages, every way in which one can run past its end, and what is written."""

import numpy as np
import pytest
from support.tensorflow_files import field, fixed32, number, varint

from resnet_compile import wire
from resnet_compile.errors import ResnetCompileError
from resnet_compile.wire import BYTES, FIXED32, FIXED64, VARINT, Message, fields, read_varint, unpack_varints


class MalformedError(ResnetCompileError):
    """What the readers' caller says of bytes that are wrong."""


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_varint_is_read_back(value: int) -> None:
    encoded = varint(value)
    assert read_varint(b"\xff" + encoded + b"\xff", 1, len(encoded) + 1, MalformedError) == (value, len(encoded) + 1)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "is cut off"),
        (b"\x80", "is cut off"),
        (b"\xff" * 9, "is cut off"),
        (b"\xff" * 10, "never ends"),
        (b"\xff" * 1000, "never ends"),
        (b"\x95\x00", "is padded"),
        (b"\x80\x00", "is padded"),
        (b"\xff" * 9 + b"\x02", "is over 64 bits"),
    ],
)
def test_malformed_varint_is_refused(encoded: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        read_varint(encoded, 0, len(encoded), MalformedError)


def test_varint_stops_at_the_given_end() -> None:
    with pytest.raises(MalformedError, match="is cut off"):
        read_varint(b"\x80\x01", 0, 1, MalformedError)


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_message_gives_its_fields(kind: type) -> None:
    inner = number(1, 5)
    fixed64 = varint(9 << 3 | 1) + bytes(8)
    data = (
        number(1, 7)
        + number(2, -3)
        + field(3, b"abc")
        + fixed32(4, 1 << 31)
        + field(5, inner)
        + field(5, b"")
        + fixed64
    )
    message = Message(kind(data), MalformedError)
    assert message.int64(1) == 7
    assert message.int64(2) == -3
    assert message.bytes(3) == b"abc"
    assert message.fixed32(4) == 1 << 31
    assert [part.int64(1) for part in message.messages(5)] == [5, 0]
    assert (message.int64(6), message.int64(6, default=-1), message.bytes(6), message.fixed32(6)) == (0, -1, None, 0)
    assert message.message(6).int64(1) == 0
    assert (message.text(3), message.text(6)) == ("abc", "")
    with pytest.raises(MalformedError, match="field 3 is not UTF-8"):
        Message(kind(field(3, b"abc\xff")), MalformedError).text(3)


def test_fields_come_in_order_and_one_at_a_time() -> None:
    fixed64 = varint(4 << 3 | FIXED64) + (1 << 40).to_bytes(8, "little")
    data = number(1, -1) + field(2, b"abc") + fixed32(3, 7) + fixed64 + field(2, b"") + b"\xff" * 10
    found = fields(memoryview(data), MalformedError)
    assert [next(found) for _ in range(5)] == [
        (1, VARINT, (1 << 64) - 1),
        (2, BYTES, b"abc"),
        (3, FIXED32, 7),
        (4, FIXED64, 1 << 40),
        (2, BYTES, b""),
    ]
    with pytest.raises(MalformedError, match="never ends"):
        next(found)


def test_long_tag_is_read_back() -> None:
    assert list(fields(number(1 << 20, 3), MalformedError)) == [(1 << 20, VARINT, 3)]


def test_bytes_of_a_view_are_views_of_it() -> None:
    data = memoryview(field(1, bytes(1000)))
    ((_, _, value),) = fields(data, MalformedError)
    assert isinstance(value, memoryview)
    assert value.obj is data.obj


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, (1 << 63) - 1])
def test_what_is_written_is_what_others_write(value: int) -> None:
    assert wire.varint(value) == varint(value)
    assert wire.length_prefix(7, value) == varint(7 << 3 | BYTES) + varint(value)


def test_field_of_another_wire_type_is_not_taken() -> None:
    message = Message(field(1, b"abc") + number(2, 1 << 40), MalformedError)
    assert message.int64(1) == 0
    assert message.bytes(2) is None  # and bytes(1 << 40) is never made


@pytest.mark.parametrize("data", [number(1, 2) * 2, field(1, b"x") * 2, fixed32(1, 2) * 2])
def test_field_that_stands_twice_is_refused(data: bytes) -> None:
    message = Message(data, MalformedError)
    with pytest.raises(MalformedError, match="more than once"):
        _ = message.int64(1), message.bytes(1), message.fixed32(1)


@pytest.mark.parametrize(
    "data",
    [
        varint(1 << 3 | 2) + varint(5) + b"abcd",
        varint(1 << 3 | 2) + varint(1 << 62),
        varint(1 << 3 | 5) + b"abc",
        varint(1 << 3 | 1) + b"abcdefg",
        varint(1 << 3),
        varint(1 << 3 | 3),
        varint(1 << 3 | 4),
        varint(1 << 3 | 6),
        varint(1 << 3 | 7),
    ],
)
def test_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Message(data, MalformedError)


def test_number_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 10)
    Message(number(1, 1) * 10, MalformedError)
    with pytest.raises(MalformedError, match="more than 10 fields"):
        Message(number(1, 1) * 11, MalformedError)


@pytest.mark.parametrize("piece", [10, 11, 64, 1 << 18])
def test_packed_varints_are_read_back_whatever_the_piece(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(wire, "_PIECE", piece)
    numbers = [0, 1, 127, 128, -1, 1 << 20, -(1 << 63), (1 << 63) - 1, 5] * 7
    pieces = unpack_varints(b"".join(map(varint, numbers)), len(numbers), MalformedError)
    assert np.concatenate(list(pieces)).view(np.int64).tolist() == numbers


def test_no_packed_varints() -> None:
    assert list(unpack_varints(b"", 0, MalformedError)) == []


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"\x01\x02", 1),
        (b"\x01\x02", 3),
        (b"", 1 << 50),
        (b"\x01\x82", 1),
        (b"\x82", 0),
        (b"\xff" * 10 + b"\x01", 1),
        (b"\xff" * 9 + b"\x02", 1),
        (b"\xff" * 100, 0),
    ],
)
def test_malformed_packed_varints_are_refused(data: bytes, count: int) -> None:
    with pytest.raises(MalformedError):
        list(unpack_varints(data, count, MalformedError))
