"""The reader of pickles: plain data and arrays of every protocol come out, anything else is refused before it runs."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_ssl.benchmark.readers import pickles


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_are_read_from_pickles_of_every_protocol(protocol, tmp_path):
    content = {
        "rows": np.arange(6000, dtype=np.uint8).reshape(2, 3000),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big endian": np.array([1, 2], ">i4"),
        b"labels": [0, 1, 65_536, -1, 2**40],
        "numbers": [np.int64(7), np.float32(0.5)],
        "rest": (None, True, 1.5, "é", b"\xff", {"a": []}),
    }
    (tmp_path / "p").write_bytes(pickle.dumps(content, protocol))
    read = pickles.load(tmp_path / "p", arrays=True)
    assert list(read) == list(content) and read[b"labels"] == content[b"labels"] and read["rest"] == content["rest"]
    assert read["numbers"] == [7, 0.5] and type(read["numbers"][0]) is int
    for name in ("rows", "columns", "big endian"):
        np.testing.assert_array_equal(read[name], content[name])
        assert read[name].dtype == content[name].dtype


def test_pickle_of_python_2_is_read(tmp_path):
    # What Python 2 and NumPy 1.6 wrote for {'data': array([[1, 2, 3]], dtype=uint8), 'labels': [7]}, as CIFAR has it.
    written = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x01K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        b"tb\x89U\x03\x01\x02\x03tbU\x06labelsq\x08]q\tK\x07au."
    )
    (tmp_path / "batch").write_bytes(written)
    read = pickles.load(tmp_path / "batch", arrays=True)
    assert read[b"labels"] == [7] and read[b"data"].tolist() == [[1, 2, 3]]
    expected = pickle.loads(written, encoding="bytes")
    assert expected[b"data"].tolist() == [[1, 2, 3]], "the bytes above are not a pickle"


def test_waveforms_stay_in_the_pickle_until_they_are_read(tmp_path):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({0: {"wav": b"x" * 5000, "label": 1}}, protocol=4))
    chunk = pickles.load(tmp_path / "p.pkl")[0]["wav"]
    assert sys.getsizeof(chunk) < 200 and chunk.read() == b"x" * 5000


# What is refused


class Runs:
    """A pickle of it would make a folder when it is loaded."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


class Hides:
    """The same, behind a state that the array machinery might set."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return np.ndarray, ((1,),), {"x": Runs(self.target)}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [Runs, Hides])
@pytest.mark.parametrize("arrays", [True, False], ids=["arrays", "plain"])
def test_pickle_that_would_run_code_raises_before_anything_runs(protocol, kind, arrays, tmp_path):
    path, target = tmp_path / "batch", tmp_path / "pwned"
    path.write_bytes(pickle.dumps({"data": kind(target)}, protocol))
    with pytest.raises(ValueError, match=r"batch: the pickle holds .*not read, since they could run code"):
        pickles.load(path, arrays=arrays)
    assert not target.exists()
    pickle.loads(path.read_bytes()) if kind is Runs else None
    assert kind is Hides or target.exists(), "the pickle above was harmless"


def raw_pickle(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


PICKLES = {
    "import by line": raw_pickle(b"cos\nsystem\nX\x04\x00\x00\x00true\x85R"),
    "import from the stack": raw_pickle(b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R"),
    "dotted name": raw_pickle(b"cnumpy\nndarray.tofile\n)R"),
    "extension registry": raw_pickle(b"\x82\x01"),
    "persistent id": raw_pickle(b"Px\n"),
    "instance": raw_pickle(b"(ios\nsystem\n"),
    "object": raw_pickle(b"(cos\nsystem\no"),
    "new object": raw_pickle(b"cnumpy\nndarray\n)\x81"),
    "other codec": raw_pickle(b"c_codecs\nencode\nX\x01\x00\x00\x00x\x8c\x03zip\x86R"),
    "array of objects": raw_pickle(b"cnumpy\ndtype\n\x8c\x02O8\x85R"),
    "array of a subclass": raw_pickle(b"cnumpy.core.multiarray\n_reconstruct\n\x8c\x01x\x85R"),
    "call of a type": raw_pickle(b"cnumpy\nndarray\n)R"),
    "a name as a key": raw_pickle(b"}cnumpy\nndarray\nK\x01s"),
    "an array without content": raw_pickle(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    ),
    "a bare name": raw_pickle(b"cnumpy\nndarray\n"),
    "state of a list": raw_pickle(b"]}b"),
    "buffer of another process": raw_pickle(b"\x97"),
}


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES)
def test_pickle_of_anything_but_plain_data_is_refused(content, tmp_path):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ValueError, match=r"p: the pickle holds .*such pickles are not read"):
        pickles.load(tmp_path / "p", arrays=True)


BROKEN = {
    "empty": b"",
    "cut off": pickle.dumps({"a": b"x" * 5000}, 4)[:-3000],
    "not a pickle": b"\x00" * 20,
    "length beyond the file": raw_pickle(b"\x8e" + (2**62).to_bytes(8, "little")),
    "negative length": raw_pickle(b"T\xff\xff\xff\xff"),
    "empty stack": raw_pickle(b"s"),
    "no mark": raw_pickle(b"u"),
    "unknown memo": raw_pickle(b"h\x07"),
    "append to a number": raw_pickle(b"K\x01K\x02a"),
    "list as a key": raw_pickle(b"}]K\x01s"),
    "nested without end": raw_pickle(b"]" * 100_000 + b"a" * 99_999),
    "shape that does not fit": raw_pickle(
        b"cnumpy.core.numeric\n_frombuffer\n(C\x04abcdcnumpy\ndtype\n\x8c\x02u1\x85RK\x09\x85\x8c\x01CtR"
    ),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_damaged_pickle_is_named(content, tmp_path):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ValueError, match=r"p: the pickle (is damaged|holds the instruction)"):
        pickles.load(tmp_path / "p", arrays=True)


def test_pickle_that_would_grow_when_it_is_walked_stays_small(tmp_path):
    """Sixty pairs of the pair before: one object each in memory, and 2^60 if every path is followed."""
    pairs = b"K\x01" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60))
    (tmp_path / "p").write_bytes(raw_pickle(pairs))
    value = pickles.load(tmp_path / "p")
    assert value[0] is value[1]


def test_random_damage_to_a_pickle_never_escapes_as_another_error(tmp_path):
    whole = pickle.dumps(
        {b"data": np.arange(40, dtype=np.uint8).reshape(2, 20), b"labels": [1, 2], b"n": b"a" * 30}, 2
    )
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(damaged), size=2):
            damaged[place] = rng.integers(256)
        (tmp_path / "p").write_bytes(damaged)
        try:
            pickles.load(tmp_path / "p", arrays=True)
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "p"))
