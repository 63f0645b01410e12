"""`hf-ssl skill`: SKILL.md has the form of a skill, names commands and options that exist, and is installed."""

import argparse
import re
import shlex

import pytest
import yaml

from hf_ssl.cli import build_parser, main
from hf_ssl.cli.skill import SKILL
from hf_ssl.cli.train_options import make_parser

TEXT = SKILL.read_text(encoding="utf-8")
FRONT = yaml.safe_load(TEXT.split("---\n")[1])
# Whatever is between backticks and begins with the command, in one line.
LINES = sorted(set(re.findall(r"`(hf-ssl [a-z].*?)`", TEXT)))
OPTIONS = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)))


def parsers(parser=None, words=()):
    """Words -> parser of every command; `train` has one of its own."""
    parser = parser or build_parser()
    found = {words: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= parsers(below, (*words, name))
    return found | ({("train",): make_parser()} if not words else {})


PARSERS = parsers()


def options_of(parser):
    return {option for action in parser._actions for option in action.option_strings}


def test_the_front_matter_is_that_of_a_skill():
    assert set(FRONT) == {"name", "description", "license", "metadata"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", FRONT["name"]) and len(FRONT["name"]) <= 64
    assert 50 <= len(FRONT["description"]) <= 1024 and "Use it when" in FRONT["description"]
    assert FRONT["license"] == "Apache-2.0"
    assert all(isinstance(value, str) for value in FRONT["metadata"].values())


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_a_command_with_options_that_it_has(line):
    _, *words = shlex.split(line)
    name = tuple(words[:2]) if tuple(words[:2]) in PARSERS else tuple(words[:1])
    assert name in PARSERS, f"hf-ssl {words[0]} does not exist"
    named = {word for word in words if re.match(r"--?[a-z]", word)}
    taken = options_of(PARSERS[name]) | (options_of(PARSERS["train",]) if name == ("ensemble",) else set())
    assert named <= taken
    if len(words) > len(name) and name not in {("train",), ("ensemble",)}:
        # Whole examples, and not only the name of a command.
        build_parser().parse_args(words)


def test_every_option_is_one_of_a_command():
    known = set().union(*map(options_of, PARSERS.values()))
    assert [option for option in OPTIONS if option not in known] == []


def test_every_command_is_named():
    commands = {words[0] for words in PARSERS if words} - {"skill"}
    assert {name for name in commands if f"hf-ssl {name}" not in TEXT} == set()


def test_it_is_shown(capsys):
    assert main(["skill"]) == 0
    assert capsys.readouterr().out == TEXT


def test_it_is_installed_and_brought_up_to_date(tmp_path, capsys):
    target = tmp_path / "skills" / "hf-ssl" / "SKILL.md"
    assert main(["skill", "--install", str(tmp_path / "skills")]) == 0
    assert target.read_text(encoding="utf-8") == TEXT and str(target) in capsys.readouterr().out
    target.write_text(TEXT + "old", encoding="utf-8")
    assert main(["skill", "--install", str(tmp_path / "skills")]) == 0
    assert target.read_text(encoding="utf-8") == TEXT
    assert [path.name for path in target.parent.iterdir()] == ["SKILL.md"]


def test_another_skill_and_a_file_are_left_alone(tmp_path, capsys):
    other = tmp_path / "hf-ssl" / "SKILL.md"
    other.parent.mkdir()
    other.write_text("---\nname: something-else\n---\n")
    assert main(["skill", "--install", str(tmp_path)]) == 2
    assert "must not replace another skill" in capsys.readouterr().err and "something-else" in other.read_text()
    assert main(["skill", "--install", str(other)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-ssl: error: --install must be a folder") and error.count("\n") == 1
