"""JSON and YAML documents of users: what they hold, or one line that says what is wrong with them."""

import pytest

from hf_ssl.documents import parse_json, parse_yaml, read_json, read_text

from tests.helpers.hostile_files import alias_bomb, at_once, nested, pipe

JSON = {
    "nested": ("[" * 100_000, r"^a\.json must be nested at most 100 deep, got 100,000; flatten it$"),
    "objects": (nested(100_000), "nested at most 100 deep"),
    "cut off": ('{"a": [1, ', r"^a\.json must be JSON, got Expecting value at line 1, column 11$"),
    "empty": ("", "must be JSON"),
    "a number of many digits": ("1" * 10_000, "must be JSON, got Exceeds the limit"),
}


@pytest.mark.parametrize(("text", "message"), JSON.values(), ids=JSON)
def test_json_that_cannot_be_read_is_one_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text, "a.json")


def test_json_is_what_it_says(tmp_path):
    (tmp_path / "a.json").write_text(nested(99, '["ä"]'), encoding="utf-8")
    found = read_json(tmp_path / "a.json")
    for _ in range(99):
        found = found["a"]
    assert found == ["ä"]
    (tmp_path / "b.json").write_bytes(b'"caf\xe9"')
    with pytest.raises(ValueError, match=r"b\.json must be UTF-8 text, got byte 233 at 4"):
        read_json(tmp_path / "b.json")
    with at_once(), pytest.raises(ValueError, match="must be a file, got a named pipe"):
        read_text(pipe(tmp_path / "c.json"))


YAML = {
    "alias bomb": (alias_bomb(), r"^a\.yaml must hold at most 20,000 values, aliases written out, got more"),
    "alias bomb in a value": ("algorithm_kwargs:\n  " + alias_bomb().replace("\n", "\n  "), "20,000 values"),
    "aliases inside of aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(500)),
        "nested at most 100 deep",
    ),
    "an alias of itself": ("&a [*a]", r"not name what comes later or is not complete, got the alias \*a"),
    "merged again and again": (
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "20,000 values",
    ),
    "nested": ("[" * 10_000, "nested at most 100 deep"),
    "nested by lines": ("".join(" " * i + "a:\n" for i in range(300)), "nested at most 100 deep"),
    "many values": ("- a\n" * 30_000, "20,000 values"),
    "long": ("a: " + "b" * 300_000, "must have at most 262,144 characters, got 300,003"),
    "no date": ("a: 2001-99-99", "must be YAML or JSON, got month must be in 1..12"),
    "no number": ("a: !!int x", "must be YAML or JSON, got invalid literal"),
    "no timestamp": ("a: !!timestamp x", "must be YAML or JSON"),
    "code": ("a: !!python/object/apply:os.mkdir [x]", "must be YAML or JSON, got could not determine a constructor"),
    "cut off": ("{a: [1, ", "must be YAML or JSON"),
    "a zero byte": ("a: \0", "must be YAML or JSON"),
}


@pytest.mark.parametrize(("text", "message"), YAML.values(), ids=YAML)
def test_yaml_that_cannot_be_read_is_one_line(text, message):
    with at_once(), pytest.raises(ValueError, match=message) as error:
        parse_yaml(text, "a.yaml")
    assert "\n" not in str(error.value)


def test_yaml_is_what_it_says():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]\nc: {<<: {d: 1}, e: 2}", "a.yaml") == {
        "a": [1, 2],
        "b": [[1, 2], [1, 2]],
        "c": {"d": 1, "e": 2},
    }
    assert parse_yaml('{"max_steps": 4, "lr": "1e-4"}', "a.json") == {"max_steps": 4, "lr": "1e-4"}
    assert parse_yaml("[" * 100 + "]" * 100, "a.yaml") == parse_json("[" * 100 + "]" * 100, "a.json")
