"""Damage that gets behind the checksums and lengths of zip archives and safetensors headers."""

import io
import json
import random
import zipfile

from support.damage import EDITS, EXTREMES, KEEPING_SIZE, Files, edited


def reseal_zip(rng: random.Random, files: Files) -> None:
    """Damage one member, and write an archive in which its CRC and sizes are right again."""
    (name,) = files
    with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
        for info in archive.infolist():
            info.CRC = None  # type: ignore[assignment]  # PyTorch can be told to write none, and zipfile to ask for none
        members = [(info, archive.read(info)) for info in archive.infolist()]
    # The larger half of the chances for the member that describes the others.
    index = rng.choice([0, rng.randrange(len(members))])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, (info, data) in enumerate(members):
            changed = edited(rng, data, rng.choice((KEEPING_SIZE, EDITS))) if number == index else data
            archive.writestr(zipfile.ZipInfo(info.filename), changed, info.compress_type)
    files[name] = out.getvalue()


def reseal_header(rng: random.Random, files: Files) -> None:
    """Change one value in a safetensors header, or copy one tensor's entry over another's."""
    (name,) = files
    data = files[name]
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    tensors = [key for key in header if key != "__metadata__"]
    entry = header[rng.choice(tensors)]
    match rng.randrange(4):
        case 0:
            entry["dtype"] = header[rng.choice(tensors)]["dtype"]
        case 1:
            entry["shape"] = [rng.choice(EXTREMES), *entry["shape"][1:]]
        case 2:
            entry["data_offsets"][rng.randrange(2)] = rng.choice((*EXTREMES, rng.randrange(len(data))))
        case _:
            header[rng.choice(tensors)] = dict(header[rng.choice(tensors)])
    raw = json.dumps(header).encode()
    files[name] = len(raw).to_bytes(8, "little") + raw + data[end:]
