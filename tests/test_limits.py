"""Bounds on what files may claim: the depth of JSON, lines, what is not a file, what an archive may unpack to."""

import io
import json
import os
import random

import pytest

from hf_ssl import limits

from tests.helpers.hostile_files import at_once, nested, pipe


def depth_by_hand(text: str) -> int:
    """The depth of JSON, one character after the other."""
    deepest = depth = 0
    inside = escaped = False
    for letter in text:
        if inside:
            inside, escaped = letter != '"' or escaped, letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        else:
            depth = max(0, depth + (letter in "[{") - (letter in "]}"))
            deepest = max(deepest, depth)
    return deepest


def value(draw: random.Random, depth: int = 0):
    text = "".join(draw.choice('ab[]{}"\\\n') for _ in range(draw.randint(0, 6)))
    kind = draw.randrange(3) if depth < 7 else 2
    if kind == 0:
        return [value(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return {text: value(draw, depth + 1)} if kind == 1 else text


def test_depth_is_that_of_the_brackets_outside_of_strings_however_the_text_is_divided(monkeypatch):
    for seed in range(300):
        draw = random.Random(seed)
        text = json.dumps(value(draw))
        cuts = sorted(draw.choices(range(len(text) + 1), k=9))
        parts = [text[a:b].encode() for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        monkeypatch.setattr(limits, "DEEPEST", depth_by_hand(text))
        limits.check_depth(parts, "rows.json")
        if limits.DEEPEST:
            monkeypatch.setattr(limits, "DEEPEST", limits.DEEPEST - 1)
            with pytest.raises(
                ValueError, match=rf"^rows\.json must be nested at most \d deep, got {limits.DEEPEST + 1}"
            ):
                limits.check_depth(parts, "rows.json")


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (nested(100), True),
        (nested(101), False),
        ("[" * 100, True),
        ("[" * 101, False),
        # Lines of JSON Lines, of which none is deep.
        ((nested(99) + "\n") * 200, True),
        # A quote without its twin, and brackets that close nothing, hide nothing in later lines.
        ('"\n' + "[" * 101, False),
        ("]" * 500 + "\n" + "[" * 101, False),
        (r'{"a": "\\"}' + "[" * 101, False),
        (r'{"a": "\"' + "[" * 500 + '"}', True),
    ],
)
def test_json_may_be_nested_a_hundred_deep(text, fine):
    for size in (len(text), 7):
        parts = [text[start : start + size].encode() for start in range(0, len(text), size)]
        if fine:
            limits.check_depth(parts, "a")
        else:
            with pytest.raises(ValueError, match="a must be nested at most 100 deep"):
                limits.check_depth(parts, "a")


def test_lines_are_those_of_the_file_up_to_the_longest(monkeypatch):
    monkeypatch.setattr(limits, "LONGEST_ROW", 5)
    text = "ab\n\nabcd\nabcde"
    assert list(limits.lines(io.StringIO(text), "a.csv")) == list(io.StringIO(text))
    with pytest.raises(ValueError, match=r"^a\.csv, line 2 must have at most 5 characters, got more; split it$"):
        list(limits.lines(io.StringIO("a\nabcdefgh"), "a.csv"))


def test_what_is_not_a_file_is_told_and_never_opened(tmp_path):
    with at_once():
        assert limits.file_problem(pipe(tmp_path / "a.png")) == "a named pipe"
        (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
        assert limits.file_problem(tmp_path / "link.png") == "a named pipe"
        with pytest.raises(
            ValueError, match=r"a\.png must be a file, got a named pipe; remove it or give another one"
        ):
            limits.check_file(tmp_path / "a.png")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    assert limits.file_problem(tmp_path / "itself.png") == "a link to itself"
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "no such file")
    assert limits.file_problem(tmp_path / "nowhere.png") is None
    assert limits.file_problem("/dev/zero") == "a device"
    assert limits.file_problem(tmp_path) == "a folder"
    (tmp_path / "b.png").write_bytes(b"1234")
    assert limits.file_problem(tmp_path / "b.png") is None
    limits.check_file(tmp_path / "b.png", most=4)
    with pytest.raises(ValueError, match=r"b\.png must have at most 3 bytes, got 4"):
        limits.check_file(tmp_path / "b.png", most=3)


def test_a_file_of_holes_is_as_large_as_it_says(tmp_path):
    with open(tmp_path / "a.txt", "wb") as file:
        os.truncate(file.fileno(), 2**40)
    with pytest.raises(ValueError, match=r"must have at most 16,777,216 bytes, got 1,099,511,627,776"):
        limits.check_file(tmp_path / "a.txt", limits.LONGEST_ROW)


def test_archives_unpack_to_a_hundred_times_their_size_or_to_what_is_harmless():
    assert limits.most_unpacked(1_000) == 2**27
    assert limits.most_unpacked(10**8) == 10**10
    assert limits.most_unpacked(10**12) == 2**38


def test_values_inside_of_values_are_written_in_bounded_time():
    bomb = "lol"
    for _ in range(60):
        bomb = [bomb, bomb]
    with at_once():
        assert len(limits.short(bomb)) < 3_000
    assert limits.short(7) == "7" and limits.short("World") == "'World'"
