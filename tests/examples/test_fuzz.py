"""The script that damages files: its damage is what it says, a number always makes the same file, and limits hold."""

import io
import os
import time
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def forked(benchmark_scripts):
    """The module that starts commands."""
    import forked

    return forked


@pytest.fixture(scope="module")
def fuzz(benchmark_scripts):
    """The script, as a module."""
    import fuzz

    return fuzz


@pytest.fixture(scope="module")
def mutations(benchmark_scripts):
    """The damage, as a module."""
    import fuzz_mutations

    return fuzz_mutations


@pytest.fixture(scope="module")
def files(benchmark_scripts, tmp_path_factory):
    """The valid files by suffix, those of models left out."""
    import fuzz_seeds

    seeds = fuzz_seeds.make_seeds(tmp_path_factory.mktemp("seeds"), {})
    # Of several with one suffix the first, which is no raw data.
    return {Path(seed.file).suffix: seed.data for seed in reversed(seeds)}


# ---- Files ----


def test_a_number_makes_the_same_file_each_time_and_another_one_than_the_next(mutations, files):
    others = list(files.values())
    for suffix, data in files.items():
        made = []
        for number in range(10):
            rngs = np.random.default_rng(number), np.random.default_rng(number)
            first, second = (mutations.mutate(data, suffix, rng, others) for rng in rngs)
            assert first == second
            made.append(first[1])
        assert len(set(made)) > 6, suffix


def hostile(mutations, files, name):
    (suffix, change), *_ = [
        (suffix, change)
        for suffix, all_of in mutations._HOSTILE.items()
        for change in all_of
        if change.__name__ == name
    ]
    return change(files.get(suffix, b""))


def test_hostile_images_claim_what_they_say(mutations, files, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    sizes = {
        "_png_of_a_million_squared": (1_000_000, 1_000_000),
        "_png_of_many_pixels": (13_000, 13_000),
        "_gif_of_a_huge_screen": (65_535, 65_535),
        "_jpeg_of_a_huge_size": (65_500, 65_500),
    }
    found = {name: Image.open(io.BytesIO(hostile(mutations, files, name))).size for name in sizes}
    assert found == sizes


def test_hostile_recordings_claim_what_they_say(mutations, files):
    rates = {"_wav_of_an_odd_rate": 44_101, "_wav_of_one_hertz": 1, "_wav_of_a_huge_rate": 2**31 - 1}
    for name, rate in rates.items():
        with wave.open(io.BytesIO(hostile(mutations, files, name))) as file:
            assert (file.getframerate(), file.getnframes()) == (rate, 800)
    with wave.open(io.BytesIO(hostile(mutations, files, "_wav_of_one_sample"))) as file:
        assert file.getnframes() == 1
    flac = hostile(mutations, files, "_flac_of_many_samples")
    assert int.from_bytes(flac[21:26], "big") & 2**36 - 1 == 2**36 - 1 and flac[26:] == files[".flac"][26:]


def test_hostile_archives_and_arrays_claim_what_they_say(mutations, files):
    with zipfile.ZipFile(io.BytesIO(hostile(mutations, files, "_zip_that_unpacks_to_gigabytes"))) as file:
        (member,) = file.infolist()
        assert member.file_size == 3_000_000_000 and member.compress_size < 4_000_000
        with file.open(member) as content:
            assert content.read(2_500_000) == bytes(2_500_000)
    packed = hostile(mutations, files, "_tar_that_unpacks_to_gigabytes")
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed)[:22] == b"yelp_review/train.json" and len(packed) < 4_000_000
    with zipfile.ZipFile(io.BytesIO(hostile(mutations, files, "_npz_of_many_rows"))) as file:
        assert b"(1099511627776, 28, 28)" in file.read("train_images.npy")[:128]


# ---- What counts as a failure ----

LINE = "hf-ssl: error: x.png cannot be read; give another one"
TRACEBACK = "Traceback (most recent call last):\n  ...\nKeyError: 3"
ENDS = {
    "done": ((0, "", "a warning"), []),
    "refused": ((2, "", f"a warning\n{LINE}\n"), []),
    "a traceback": ((1, "", TRACEBACK), ["traceback: KeyError: 3"]),
    "a traceback on the screen": ((0, TRACEBACK, ""), ["traceback: nothing was said"]),
    "another status": ((1, "", LINE), [f"status 1: {LINE}"]),
    "no line": ((2, "", "bad"), ["no single line of error: bad"]),
    "two lines": ((2, "", f"{LINE}\n{LINE}"), [f"no single line of error: {LINE}"]),
    "a crash": ((-11, "", ""), ["ended by SIGSEGV"]),
    "bytes of the file": (
        (2, "", "hf-ssl: error: \x1b[2J"),
        [r"the error is not printable: 'hf-ssl: error: \x1b[2J'"],
    ),
    "the whole file": ((2, "", LINE + "a" * 1_000), ["the error has 1,053 characters"]),
    "memory": ((2, "", "hf-ssl: error: MemoryError"), ["tried to take more than 2,000 MB"]),
    "time": ((-9, "", "", 20.0, 20.0, 0.0, "time"), ["longer than 20 s"]),
    "resident memory": ((-9, "", "", 1.0, 1.0, 2_100.0, "memory"), ["more than 2,000 MB"]),
}


@pytest.mark.parametrize(("end", "expected"), ENDS.values(), ids=ENDS)
def test_an_end_is_good_or_its_fault_is_named(fuzz, forked, end, expected):
    usual = (0, "", "", 0.1, 0.1, 500.0)
    assert fuzz.faults(forked.Outcome(*end, *usual[len(end) :])) == expected


def test_what_is_left_behind_and_who_got_no_answer(fuzz, tmp_path):
    names = ("results.json", "x.tmp.csv", ".usb-cifar10.incomplete")
    found = fuzz._left({tmp_path / name for name in names})
    assert found == ["left behind: .usb-cifar10.incomplete", "left behind: x.tmp.csv"]
    table = tmp_path / "out.csv"
    missing = ["no answer for good.png beside it"]
    assert fuzz._unanswered(table, "good.png") == missing
    for cells, expected in (("red,", []), (",damaged", missing)):
        table.write_text(f"input,label,error\nx.png,,damaged\n/a/good.png,{cells}\n")
        assert fuzz._unanswered(table, "good.png") == expected


# ---- Processes ----


def take_memory():
    kept = []
    for _ in range(500):
        kept.append(b"a" * 20_000_000)
        time.sleep(0.01)


def write_and_fail():
    print("said")
    raise KeyError("odd")


WORKS = {
    "an exit status": (lambda: 2, {"status": 2, "stopped": ""}),
    "an exception": (write_and_fail, {"status": 1, "output": "said\n", "has_traceback": True}),
    "a signal": (lambda: os.kill(os.getpid(), 11), {"status": -11}),
    "too long": (lambda: time.sleep(60), {"status": -9, "stopped": "time"}),
    "too much work": (lambda: sum(iter(int, 1)), {"status": -9, "stopped": "time"}),
    "too much memory": (take_memory, {"status": -9, "stopped": "memory"}),
    "far too much memory": (lambda: bytearray(2**38), {"status": 1, "has_traceback": True}),
}


@pytest.mark.parametrize(("work", "expected"), WORKS.values(), ids=WORKS)
def test_a_child_ends_as_it_would_in_a_shell_and_within_its_limits(forked, monkeypatch, tmp_path, work, expected):
    monkeypatch.setattr(forked, "_run", lambda words: work())
    limit = int(forked._resident_mb(os.getpid())) + 100
    with forked.Child([], tmp_path, limit_mb=limit) as child:
        outcome = child.finish(0.5 if expected.get("stopped") == "time" else 20)
    assert {name: getattr(outcome, name) for name in expected} == expected
    assert child.has_ended
