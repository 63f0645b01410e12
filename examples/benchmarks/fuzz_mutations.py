"""Damage to files: by chance, and of the kinds that someone who means harm would choose; for `fuzz.py`."""

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

_HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**36 - 1, 2**40, 2**63 - 1, 2**64 - 1, 0)
# A file that is nested, repeated or padded grows to this size at most, in bytes.
_LARGEST = 4_000_000


def mutate(data: bytes, suffix: str, rng: np.random.Generator, others: list[bytes]) -> tuple[str, bytes]:
    """A damaged file.

    Args:
        data: the valid file.
        suffix: of its name, with the dot.
        rng: decides on what is done.
        others: other valid files, to take parts from.

    Returns:
        what was done, in a few words, and the bytes.
    """
    plain = [_flip, _flip_many, _cut, _splice, _double, _drop, _zero, _huge, _huge]
    rare = [_empty, _random, _exchange]
    written = [_nest, _insert, _number, _repeat, _value, _long_line] if suffix in _WRITTEN else []
    aimed = list(_HOSTILE.get(suffix, ()))
    groups = [plain, written, aimed, rare]
    weights = np.array([4.0, 3.0, 1.5, 0.7]) * [bool(group) for group in groups]
    group = groups[rng.choice(4, p=weights / weights.sum())]
    change = group[rng.integers(len(group))]
    result = change(data, rng, others) if group is not aimed else change(data)
    return f"{change.__name__.strip('_').replace('_', ' ')}", result


_WRITTEN = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".yaml")


# ---- By chance ----


def _place(data: bytes, rng: np.random.Generator) -> int:
    """A position, in the first 64 bytes every other time: what is there decides on the rest."""
    return int(rng.integers(max(1, min(len(data), 64) if rng.random() < 0.5 else len(data))))


def _flip(data: bytes, rng: np.random.Generator, _: list[bytes], times: int = 1) -> bytes:
    changed = bytearray(data)
    for _bit in range(times if data else 0):
        changed[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _flip_many(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    return _flip(data, rng, others, times=2 + len(data) // 100)


def _cut(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def _empty(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    return b""


def _random(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    return rng.bytes(int(rng.integers(1, 5_000)))


def _exchange(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    return others[rng.integers(len(others))]


def _splice(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    other = others[rng.integers(len(others))]
    return data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]


def _double(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    start, end = sorted(rng.integers(len(data) + 1, size=2).tolist())
    times = 1 + int(rng.integers(1, 4)) ** 3
    return (data[:end] + data[start:end] * times + data[end:])[:_LARGEST]


def _drop(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    start, end = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return data[:start] + data[end:]


def _zero(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    start = _place(data, rng)
    end = min(len(data), start + int(rng.integers(1, 64)))
    return data[:start] + bytes(end - start) + data[end:]


def _huge(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    """A number of a header, if there is one at this place, becomes huge."""
    size, order = int(rng.choice([2, 4, 8])), rng.choice(["little", "big"])
    value = (_HUGE[rng.integers(len(_HUGE))] & (1 << 8 * size) - 1).to_bytes(size, str(order))
    place = _place(data, rng)
    return data[:place] + value[: len(data) - place] + data[place + size :]


# ---- Files that are written as text ----


def _nest(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    opening, closing = ((b"[", b"]"), (b'{"a":', b"}"), (b"- ", b""), (b'"', b'"'), (b"(", b")"))[rng.integers(5)]
    times, place = int(10 ** rng.uniform(1, 5.3)), _place(data, rng)
    inner = opening * times + (b"1" + closing * times) * (rng.random() < 0.7)
    return data[:place] + inner[:_LARGEST] + data[place:]


def _insert(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    odd = [
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xc3\x28",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"\\",
        b"\x1b[2J",
    ]
    odd += ["\u202e".encode(), "\ud83d".encode(errors="surrogatepass"), b"<<: *a", b"!!python/object:os.system", b"%"]
    place = _place(data, rng)
    return data[:place] + odd[rng.integers(len(odd))] * int(rng.integers(1, 4)) + data[place:]


def _number(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    """A digit becomes an odd number; without digits, a number is appended."""
    odd = [
        b"-1",
        b"1e308",
        b"1e999",
        b"NaN",
        b"-Infinity",
        b"0",
        b"9" * 5_000,
        b"99999999999999999999",
        b"0x10",
        b"1_0",
    ]
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    place = places[rng.integers(len(places))] if places else len(data)
    return data[:place] + odd[rng.integers(len(odd))] + data[place + 1 :]


def _repeat(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    # Not so many rows that to read them takes its time.
    return (data * int(rng.integers(2, 500)))[:200_000]


def _long_line(data: bytes, rng: np.random.Generator, _: list[bytes]) -> bytes:
    place = _place(data, rng)
    return data[:place] + b"a" * int(10 ** rng.uniform(4, 6.5)) + data[place:]


def _value(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """A value of a JSON document becomes another one; other texts lose a line."""
    try:
        content = json.loads(data)
    except ValueError:
        lines = data.splitlines(keepends=True)
        del lines[rng.integers(len(lines)) : rng.integers(len(lines)) + 1]
        return b"".join(lines)
    places: list[tuple[dict | list, str | int]] = []

    def walk(value: object) -> None:
        for key, item in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            places.append((value, key))
            walk(item)

    walk(content)
    odd = [None, True, -1, 0, 2**70, 1e308, "", "a" * 10_000, [], {}, [[[]]], {"": None}, "\u0000", "../../etc/passwd"]
    holder, key = places[rng.integers(len(places))] if places else ([content], 0)
    if rng.random() < 0.2 and isinstance(holder, dict):
        holder[f"{key}\n"] = holder.pop(key)
    else:
        holder[key] = odd[rng.integers(len(odd))]
    return json.dumps(content).encode()


# ---- With intent ----


def _png_of_a_million_squared(data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 1_000_000, 1_000_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return data[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def _png_of_many_pixels(data: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    side = 13_000
    packed = zlib.compress(bytes((3 * side + 1) * side), 1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return data[:8] + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _png_with_a_packed_text(data: bytes) -> bytes:
    name = b"zTXt" + b"a\0\0" + zlib.compress(bytes(80_000_000), 9)
    return data[:33] + struct.pack(">I", len(name) - 4) + name + struct.pack(">I", zlib.crc32(name)) + data[33:]


def _gif_of_a_huge_screen(data: bytes) -> bytes:
    return data[:6] + b"\xff\xff\xff\xff" + data[10:]


def _jpeg_of_a_huge_size(data: bytes) -> bytes:
    place = data.index(b"\xff\xc0")
    return data[: place + 5] + b"\xff\xdc\xff\xdc" + data[place + 9 :]


def _tiff_that_names_itself_again(data: bytes) -> bytes:
    """The directory of a page says that the next page is this one."""
    start = struct.unpack("<I", data[4:8])[0]
    end = start + 2 + 12 * struct.unpack("<H", data[start : start + 2])[0]
    return data[:end] + data[4:8] + data[end + 4 :]


def _flac_of_many_samples(data: bytes) -> bytes:
    field = int.from_bytes(data[18:26], "big") | 2**36 - 1
    return data[:18] + field.to_bytes(8, "big") + data[26:]


def _wav_of_an_odd_rate(data: bytes) -> bytes:
    return data[:24] + struct.pack("<I", 44_101) + data[28:]


def _wav_of_a_huge_rate(data: bytes) -> bytes:
    return data[:24] + struct.pack("<I", 2**31 - 1) + data[28:]


def _wav_of_one_hertz(data: bytes) -> bytes:
    return data[:24] + struct.pack("<I", 1) + data[28:]


def _wav_of_one_sample(data: bytes) -> bytes:
    place = data.index(b"data")
    return data[: place + 4] + struct.pack("<I", 2) + data[place + 8 : place + 10]


def _wav_of_many_channels(data: bytes) -> bytes:
    return data[:22] + b"\xff\xff" + data[24:]


def _wav_that_claims_more(data: bytes) -> bytes:
    place = data.index(b"data")
    return data[: place + 4] + b"\xf0\xff\xff\x7f" + data[place + 8 :]


def _csv_of_one_long_field(data: bytes) -> bytes:
    return data + b'"' + b"a" * 50_000_000


def _csv_of_many_columns(data: bytes) -> bytes:
    return b",".join(b"c%d" % number for number in range(100_000)) + b"\n" + b"," * 99_999 + b"\n"


def _json_nested_deep(data: bytes) -> bytes:
    return b'{"a":' * 200_000 + b"1" + b"}" * 200_000


def _json_with_a_nested_row(data: bytes) -> bytes:
    return b'{"text": "a", "label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + data


def _yaml_of_aliases(data: bytes) -> bytes:
    lines = ["algorithm_kwargs:", "  a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    return "\n".join(lines).encode()


def _yaml_that_holds_itself(data: bytes) -> bytes:
    return b"algorithm_kwargs: &a\n  b: *a\n"


def _parquet_with_deep_metadata(data: bytes) -> bytes:
    """The description of the columns that `datasets` keeps in the file is nested a thousand deep."""
    import pyarrow.parquet as pq

    deep = '{"feature": ' * 1_000 + '{"dtype": "string", "_type": "Value"}' + ', "_type": "Sequence"}' * 1_000
    described = f'{{"info": {{"features": {{"text": {deep}}}}}}}'
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)).replace_schema_metadata({"huggingface": described}), buffer)
    return buffer.getvalue()


def _parquet_with_deep_columns(data: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.string()
    for _ in range(400):
        kind = pa.struct([("a", kind)])
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(["a"]), "label": pa.array([None], kind)}), buffer)
    return buffer.getvalue()


def _safetensors_with_a_huge_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**40) + data[8:]


def _safetensors_of_a_huge_shape(data: bytes) -> bytes:
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    next(value for key, value in header.items() if key != "__metadata__")["shape"] = [2**40, 2**20]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _npz_of_many_rows(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"(80, ", b"(1099511627776, "))
    return buffer.getvalue()


def _tar_with(size: int, content: bytes, **attributes: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("yelp_review/train.json")
        member.size = size
        for name, value in attributes.items():
            setattr(member, name, value)
        file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _tar_of_a_sparse_member(data: bytes) -> bytes:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "yelp_review/train.json"}
    headers["GNU.sparse.realsize"] = str(2**37)
    return _tar_with(512, b"1\n0\n0\n".ljust(512, b"\0"), pax_headers=headers)


def _tar_that_unpacks_to_gigabytes(data: bytes) -> bytes:
    member = tarfile.TarInfo("yelp_review/train.json")
    member.size = 3_000_000_000
    # What is packed in pieces unpacks to all of them.
    return gzip.compress(member.tobuf()) + gzip.compress(bytes(1_000_000)) * 3_000


def _zip_that_unpacks_to_gigabytes(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed, name = piece * 3_000 + packer.flush(), b"2750/River/River_1.jpg"
    facts = struct.pack("<HHHHIIIHH", 0, 8, 0, 33, 0, len(packed), 3_000_000_000, len(name), 0)
    member = b"PK\3\4" + struct.pack("<H", 20) + facts + name + packed
    listed = b"PK\1\2" + struct.pack("<HH", 20, 20) + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return member + listed + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(member), 0)


_HOSTILE: dict[str, tuple[Callable[[bytes], bytes], ...]] = {
    ".png": (_png_of_a_million_squared, _png_of_many_pixels, _png_with_a_packed_text),
    ".gif": (_gif_of_a_huge_screen,),
    ".jpg": (_jpeg_of_a_huge_size,),
    ".tiff": (_tiff_that_names_itself_again,),
    ".flac": (_flac_of_many_samples,),
    ".wav": (
        _wav_of_an_odd_rate,
        _wav_of_a_huge_rate,
        _wav_of_one_hertz,
        _wav_of_one_sample,
        _wav_of_many_channels,
        _wav_that_claims_more,
    ),
    ".csv": (_csv_of_one_long_field, _csv_of_many_columns),
    ".json": (_json_nested_deep,),
    ".jsonl": (_json_nested_deep, _json_with_a_nested_row),
    ".yaml": (_yaml_of_aliases, _yaml_that_holds_itself),
    ".parquet": (_parquet_with_deep_metadata, _parquet_with_deep_columns),
    ".safetensors": (_safetensors_with_a_huge_header, _safetensors_of_a_huge_shape),
    ".npz": (_npz_of_many_rows,),
    ".gz": (_tar_of_a_sparse_member, _tar_that_unpacks_to_gigabytes),
    ".zip": (_zip_that_unpacks_to_gigabytes,),
}


# ---- What is not a file ----

NOT_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
}
