"""Decompression of one raw Snappy block, with every size checked before it is used.

Format (https://github.com/google/snappy/blob/main/format_description.txt): the decompressed length as a varint, then
elements. Each begins with a tag byte; its low two bits are 0 for a literal, and 1, 2 or 3 for a copy of earlier output
with an offset of 11, 16 or 32 bits. Only the indexes of early TensorFlow bundles are compressed, a few hundred
kilobytes at most, so Python is fast enough.
"""

from __future__ import annotations

from resnet_compile.wire import Buffer, Fail, read_varint

# Blocks are cut at 256 KiB or at the first record that passes it; no record of an index comes near this.
MAX_SIZE = 64 << 20


def decompress(data: Buffer, fail: Fail) -> bytes:
    """The contents of a block; fails if it is malformed, or does not hold what it claims, at most `MAX_SIZE` bytes."""
    end = len(data)
    size, at = read_varint(data, 0, end, fail)
    if size > MAX_SIZE:
        raise fail(f"{end} bytes of Snappy data claim to hold {size}")
    out = bytearray()
    while at < end:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            if length > 60:  # 61 to 64: the length less one stands in the next 1 to 4 bytes
                width = length - 60
                length = int.from_bytes(data[at : at + width], "little") + 1
                at += width
            if length > end - at:
                raise fail("a Snappy literal runs past the end")
            chunk = bytes(data[at : at + length])
            at += length
        else:
            width = (1, 2, 4)[(tag & 3) - 1]
            if width > end - at:
                raise fail("a Snappy copy is cut off")
            offset = int.from_bytes(data[at : at + width], "little")
            at += width
            length = (tag >> 2) + 1
            if width == 1:  # 3 bits of length, and 3 high bits of the offset
                length = (tag >> 2 & 7) + 4
                offset |= tag >> 5 << 8
            if not 0 < offset <= len(out):
                raise fail("a Snappy copy starts before the beginning")
            start = len(out) - offset
            # A copy may run into its own output, which then repeats with the period `offset`.
            chunk = bytes(out[start : start + length])
            chunk = (chunk * (length // len(chunk) + 1))[:length]
        if length > size - len(out):
            raise fail(f"Snappy data hold more than the {size} bytes that they claim")
        out += chunk
    if len(out) != size:
        raise fail(f"Snappy data hold {len(out)} bytes and claim {size}")
    return bytes(out)
