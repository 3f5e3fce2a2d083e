"""Damage to TensorFlow checkpoints that makes their checksums right again, so that what stands behind is reached."""

import random

from resnet_compile.checkpoints.tensorflow.objects import OBJECT_GRAPH
from support import tensorflow_files as tf
from support.damage import EDITS, EXTREMES, KEEPING_SIZE, Files, edited


def tables(files: Files) -> list[str]:
    return sorted(name for name, data in files.items() if data.endswith(tf.MAGIC))


def reseal_block(rng: random.Random, files: Files) -> None:
    """Damage to the bytes of a block, or to its type."""
    name = rng.choice(tables(files))
    data = files[name]
    start, end = rng.choice(tf.block_spans(data))
    piece = edited(rng, data[start : end + 1], KEEPING_SIZE)
    files[name] = tf.resealed(data[:start] + piece + data[end + 1 :], [(start, end)])


def edit_message(rng: random.Random, message: bytes) -> bytes:
    """Change one field of a message, however deep, with the lengths around it made right."""
    fields = []
    at = 0
    while at < len(message):
        start = at
        tag, at = tf.read_varint(message, at)
        if tag & 7 == 2:
            size, at = tf.read_varint(message, at)
            fields.append((start, at, at + size, tag))
            at += size
        else:
            value = at
            at = at + 4 if tag & 7 == 5 else at + 8 if tag & 7 == 1 else tf.read_varint(message, at)[1]
            fields.append((start, value, at, tag))
    if not fields:
        return tf.number(rng.randrange(1, 9), rng.choice(EXTREMES))
    start, value, end, tag = rng.choice(fields)
    deed = rng.random()
    if deed < 0.1:
        changed = b""
    elif deed < 0.2:
        changed = message[start:end] * 2
    elif tag & 7 == 2:
        inner = message[value:end]
        deeper = rng.random() < 0.8
        try:
            inner = edit_message(rng, inner) if deeper else edited(rng, inner, EDITS)
        except IndexError:  # no message, but text or packed values
            inner = edited(rng, inner, EDITS)
        changed = tf.field(tag >> 3, inner)
    elif tag & 7 == 0:
        changed = tf.number(tag >> 3, rng.choice((*EXTREMES, rng.randrange(40))))
    else:
        changed = message[start:value] + edited(rng, message[value:end], KEEPING_SIZE)
    return message[:start] + changed + message[end:]


def rebuild_table(rng: random.Random, files: Files) -> None:
    """Damage to the key or the message of a record, or a record doubled, dropped or moved."""
    name = rng.choice(tables(files))
    records = tf.table_records(files[name])
    place = rng.randrange(len(records))
    key, value = records[place]
    deed = rng.random()
    if deed < 0.6:
        records[place] = key, edit_message(rng, value)
    elif deed < 0.7:
        records[place] = key, edited(rng, value, EDITS)
    elif deed < 0.8:
        records[place] = edited(rng, key, EDITS), value
    elif deed < 0.9:
        del records[place]
    else:
        records.insert(rng.randrange(len(records)), rng.choice(records))
    if rng.random() < 0.7:
        records = sorted(dict(records).items())
    cut = rng.choice((0, rng.randrange(len(records) + 1)))
    files[name] = tf.table(*(part for part in (records[:cut], records[cut:]) if part))


def reseal_data(rng: random.Random, files: Files) -> None:
    """Damage to a tensor's bytes in a bundle; its entry gets the checksum that belongs to them."""
    (index,) = tables(files)
    records = tf.table_records(files[index])
    entries = [(place, tf.read_entry(value)) for place, (key, value) in enumerate(records) if key]
    place, entry = rng.choice([(place, entry) for place, entry in entries if entry.size])
    data = next(name for name in files if f".data-{entry.shard:05d}" in name)
    contents = files[data]
    end = entry.offset + entry.size
    if entry.dtype == tf.STRING:
        piece, checksum = damaged_strings(rng, contents[entry.offset : end], entry.count)
    else:
        piece = edited(rng, contents[entry.offset : end], KEEPING_SIZE)
        checksum = tf.masked(piece)
    files[data] = contents[: entry.offset] + piece + contents[end:]
    key, value = records[place]
    records[place] = key, value.replace(tf.fixed32(6, entry.checksum), tf.fixed32(6, checksum))
    files[index] = tf.table(records)


def damaged_strings(rng: random.Random, data: bytes, count: int) -> tuple[bytes, int]:
    """String data with other lengths; the checksums are those of the wrong lengths."""
    lengths = []
    at = 0
    for _ in range(count):
        length, at = tf.read_varint(data, at)
        lengths.append(length)
    if lengths:
        lengths[rng.randrange(count)] = rng.choice((0, 1, 2, 3, 127, 128, 1 << 20, (1 << 32) - 1))
    piece, checksum = tf.v2_strings(lengths, data[at + 4 :])
    return piece[: len(data)].ljust(len(data), b"\0"), checksum


def rebuild_graph(rng: random.Random, files: Files) -> None:
    """Damage to a field of a graph, the lengths around it made right."""
    (name,) = files
    files[name] = edit_message(rng, files[name])


def reseal_graph(rng: random.Random, files: Files) -> None:
    """Damage to the graph of objects in a bundle, of the same size and with the checksums that belong to it."""
    (index,) = tables(files)
    records = tf.table_records(files[index])
    place = next(place for place, (key, _) in enumerate(records) if key == OBJECT_GRAPH.encode())
    key, value = records[place]
    entry = tf.read_entry(value)
    (data,) = (name for name in files if name != index)
    contents, end = files[data], entry.offset + entry.size
    size, start = tf.read_varint(contents, entry.offset)
    graph = contents[start + 4 : end]
    changed = edit_message(rng, graph) if rng.random() < 0.8 else edited(rng, graph, KEEPING_SIZE)
    filler = size - len(changed)
    if 130 > filler > 1:  # a field that no reader asks for
        changed += tf.field(15, bytes(filler - 2))
    if len(changed) != size:
        changed = edited(rng, graph, KEEPING_SIZE)
    piece, checksum = tf.v2_strings([size], changed)
    files[data] = contents[: entry.offset] + piece + contents[end:]
    records[place] = key, value.replace(tf.fixed32(6, entry.checksum), tf.fixed32(6, checksum))
    files[index] = tf.table(records)
