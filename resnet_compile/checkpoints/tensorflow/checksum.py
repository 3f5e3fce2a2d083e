"""CRC-32C, plain and in the masked form that tables and bundles store."""

from __future__ import annotations

import google_crc32c
import numpy as np

from resnet_compile.wire import Buffer


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, continuing from the checksum `crc` of the data before."""
    # google-crc32c takes no memoryview, but an array over one, without a copy.
    return int(google_crc32c.extend(crc, np.frombuffer(data, np.uint8))) if len(data) else crc


def masked(crc: int) -> int:
    """The stored form of a checksum: rotated right by 15 bits, plus 0xa282ead8 (LevelDB's ``util/crc32c.h``).

    Masking avoids checksums of data that contain checksums.
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
