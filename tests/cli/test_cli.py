"""The command line as a whole: help, spelling of options, and one line for anything that is wrong."""

import argparse
import logging
import os
import subprocess
import sys

import pytest

from hf_ssl.cli import build_parser, main
from hf_ssl.cli.parser import HelpFormatter


def leaves(parser=None, words=()):
    """(words, parser) of every command, those of `benchmark` among them."""
    parser = parser or build_parser()
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        return [(words, parser)]
    return [leaf for name, below in inner[0].choices.items() for leaf in leaves(below, (*words, name))]


LEAVES = leaves()


# ---- Help ----


def test_help_lists_the_commands_each_on_a_line_with_what_it_does(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    first = ["quickstart", "pick", "label", "teach", "train", "inspect", "predict", "evaluate"]
    commands = [*first, "ensemble", "select", "algorithms", "push", "demo", "benchmark", "skill"]
    assert [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "] == commands
    assert all(any(line.startswith(f"    {name}  ") for line in lines) for name in commands)


@pytest.mark.parametrize(("words", "parser"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_every_command_says_what_it_and_its_options_do(words, parser):
    assert parser.description
    assert all(action.help for action in parser._actions)
    assert callable(parser.get_default("run"))


def test_help_shows_an_option_once_and_only_defaults_worth_knowing():
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, formatter_class=HelpFormatter)
    parser.add_argument("--batch_size", "--batch-size", type=int, default=8, help="inputs per call")
    parser.add_argument("--device", help="where to compute")
    parser.add_argument("--fast", action="store_true", help="do less")
    parser.add_argument("--no-check", dest="check", action="store_false", help="skip the check")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    parser.add_argument("--few", choices=["a", "b"], default="a", help="one of two")
    parser.add_argument("--many", choices=[f"choice_{i}" for i in range(9)], help="Take one.")
    text = " ".join(parser.format_help().split())
    assert "--batch-size N inputs per call (default: 8)" in text and "batch_size" not in text
    assert "--device DEVICE where to compute --fast do less --no-check skip the check --seed" in text
    assert "--seed N of sampling (default: 0)" in text
    assert "--few {a,b} one of two (default: a)" in text
    assert "--many NAME Take one. One of choice_0, choice_1," in text


# ---- Spelling ----


def filled(action, option=""):
    """Words that give an action a value it takes."""
    number = {None: 1, "?": 1, "+": 1, "*": 1}.get(action.nargs, action.nargs)
    value = {None: "x", str: "x", float: "0.5"}.get(action.type, "3")
    return [word for word in (option, *[value] * (0 if action.const is True or action.nargs == 0 else number)) if word]


HYPHENATED = [
    (words, parser, action, option)
    for words, parser in LEAVES
    for action in parser._actions
    for option in action.option_strings
    if "-" in option[2:]
]


@pytest.mark.parametrize(
    ("words", "parser", "action", "option"), HYPHENATED, ids=[f"{' '.join(row[0])} {row[3]}" for row in HYPHENATED]
)
@pytest.mark.parametrize("joined", [False, True], ids=["a space before the value", "= before the value"])
def test_every_option_may_be_written_with_hyphens_or_underscores(words, parser, action, option, joined, monkeypatch):
    asked, run = [], parser.get_default("run")
    monkeypatch.setattr(sys.modules[run.__module__], run.__name__, asked.append)
    needed = [
        word
        for other in parser._actions
        if other.required and other is not action
        for word in filled(other, other.option_strings[0] if other.option_strings else "")
    ]
    for spelled in (option, f"--{option[2:].replace('-', '_')}"):
        given = filled(action, spelled)
        assert main([*words, *needed, *(["=".join(given)] if joined and len(given) == 2 else given)]) == 0
    first, second = asked
    assert vars(first) == vars(second) and getattr(first, action.dest) != action.default


def test_train_takes_both_spellings_too():
    from hf_ssl.cli.train_options import parse

    for options in (["--max_steps", "9", "--num_labeled=4"], ["--max-steps", "9", "--num-labeled=4"]):
        args = build_parser().parse_args(["train", "--model", "m", *options])
        arguments, settings = parse(args.words)
        assert (arguments.model, arguments.num_labeled, settings["max_steps"]) == ("m", 4, 9)


@pytest.mark.parametrize("words", [[], ["--help"], ["-x", "+y", "--", "--model", "{}"], ["--baseline", "a b"]])
def test_train_parses_its_words_itself(words):
    assert build_parser().parse_args(["train", *words]).words == words


# ---- What is printed ----


def test_algorithms_lists_the_tables(capsys):
    from hf_ssl.algorithms import BY_PROBLEM_TYPE, IMBALANCE

    assert main(["algorithms"]) == 0
    headings, tables = [], []
    for number, part in enumerate(capsys.readouterr().out.split("\n\n")):
        (tables if number % 2 else headings).append(part.splitlines())
    assert "--problem-type multi_label_classification" in headings[1][0]
    for lines, listed in zip(tables, [*BY_PROBLEM_TYPE.values(), IMBALANCE], strict=True):
        assert [line.split()[0] for line in lines[2:] if line[0] != " "] == list(listed)
        assert max(map(len, lines)) <= 100


def test_one_algorithm_is_described_with_its_defaults(capsys):
    assert main(["algorithms", "fixmatch"]) == 0
    text = capsys.readouterr().out
    assert "threshold=0.95" in text and "2001.07685" in text and text.count("@inproceedings") == 1
    # Once for each kind of problem.
    assert "fixmatch (FixMatch), for several labels per example: " in text and "negative_threshold=0.05" in text


def test_an_algorithm_of_another_kind_is_described(capsys):
    assert main(["algorithms", "CAP"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("cap (CAP), for several labels per example: ") and "gamma_negative=4.0" in text


def test_one_correction_is_described_with_its_defaults(capsys):
    assert main(["algorithms", "Logit-Adjustment"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("logit_adjustment (Logit adjustment): ")
    assert "Defaults: tau=1.0" in text and "2007.07314" in text and "@inproceedings" in text


# ---- What is wrong ----


WRONG = [
    (["quickstart", "--algorithm", "fixmatc"], "unknown algorithm 'fixmatc'; the known ones are"),
    (["quickstart", "--labels-per-class", "0"], "labels per class must be between 1 and 1"),
    (["quickstart", "--labels-per-class", "500"], "labels per class must be between 1 and 1"),
    (["quickstart", "--seeds", "-1"], "--seeds must be at least 0, got -1"),
    (["algorithms", "nothing"], "unknown algorithm 'nothing'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value)[-30:])
def test_wrong_input_is_one_line_and_status_2(arguments, message, capsys, tmp_path):
    if arguments[0] == "quickstart":
        arguments = [*arguments, "--output-dir", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-ssl: error: ") and message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [["quickstart"], ["evaluate", "model", "data"]], ids=lambda words: words[0])
@pytest.mark.parametrize("target", ["file", "file/inside"])
def test_an_output_folder_that_cannot_be_written_is_refused_at_once(tmp_path, capsys, command, target):
    (tmp_path / "file").write_text("not a folder")
    assert main([*command, "--output-dir", str(tmp_path / target)]) == 2
    assert "--output-dir must be" in capsys.readouterr().err


# Command line -> the end of the one line that answers it.
MISTYPED = {
    "evaluat m d": "did you mean evaluate?",
    "nothing": "`hf-ssl --help` shows how",
    "evaluate m d --batchsize 3": "did you mean --batch-size?",
    "evaluate m d --outputdir x": "did you mean --output-dir?",
    "evaluate m d --threshold 3": "; `hf-ssl evaluate --help` shows how",
    "evaluate m": "the following arguments are required: DATA; `hf-ssl evaluate --help` shows how",
    "predict m x --zzz": "`hf-ssl predict --help` shows how",
}


@pytest.mark.parametrize(("line", "end"), MISTYPED.items())
def test_a_mistyped_command_line_is_answered_in_one_line(line, end, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1
    assert error.startswith("hf-ssl") and error.rstrip().endswith(end)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a file system of the kernel")
def test_a_folder_in_which_nothing_can_be_created_is_refused_at_once(capsys):
    assert main(["evaluate", "model", "data.csv", "--output-dir", "/proc/out"]) == 2
    assert "--output-dir must be writable, got /proc/out" in capsys.readouterr().err


# What an error quotes -> what the screen shows of it.
QUOTED = {
    "control characters": ("a\x1b[31mred\x00 b", "a\\x1b[31mred\\x00 b"),
    "lines": ("one\n  two\r\nthree", "one two three"),
    "half a character": ("caf\udce9", "caf\\udce9"),
    "letters": ("caf\u00e9 \u732b", "caf\u00e9 \u732b"),
}


@pytest.mark.parametrize(("text", "shown"), QUOTED.values(), ids=QUOTED)
def test_what_a_message_quotes_is_one_line_that_does_nothing_to_the_terminal(text, shown, capsys, monkeypatch):
    def run(args):
        for _ in range(2):
            logging.getLogger("hf_ssl.data").warning(text)
        raise ValueError(text)

    # pytest would keep the message, and its processes cannot send half a character to each other.
    monkeypatch.setattr(logging.getLogger("hf_ssl"), "propagate", False)
    monkeypatch.setattr("hf_ssl.cli.evaluate.run", run)
    assert main(["evaluate", "m", "d"]) == 2
    # A warning is shown once, however many trainings give it.
    assert capsys.readouterr().err == f"hf-ssl: warning: {shown}\nhf-ssl: error: {shown}\n"


def test_a_message_of_a_megabyte_is_shown_with_its_beginning_and_its_end(capsys, monkeypatch):
    def run(args):
        raise ValueError(f"a label {'x' * 2**20}; spell it alike")

    monkeypatch.setattr("hf_ssl.cli.evaluate.run", run)
    assert main(["evaluate", "m", "d"]) == 2
    error = capsys.readouterr().err
    assert len(error) < 1000 and error.startswith("hf-ssl: error: a label x") and error.endswith("; spell it alike\n")


ENDS = {
    "wrong input": (ValueError("two\nlines"), 2, "hf-ssl: error: two lines\n"),
    "a missing package": (ImportError("no torch"), 2, "hf-ssl: error: no torch\n"),
    "interrupted": (KeyboardInterrupt(), 130, "hf-ssl: interrupted\n"),
}


@pytest.mark.parametrize(("error", "status", "message"), ENDS.values(), ids=ENDS)
def test_the_exit_status_tells_how_it_ended(error, status, message, capsys, monkeypatch):
    def run(args):
        raise error

    monkeypatch.setattr("hf_ssl.cli.algorithms.run", run)
    assert main(["algorithms"]) == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("error", "variable"), [(KeyError("a bug"), ""), (ValueError("wrong"), "1")])
def test_bugs_and_wrong_input_that_is_looked_into_keep_their_traceback(error, variable, monkeypatch):
    def run(args):
        raise error

    monkeypatch.setattr("hf_ssl.cli.algorithms.run", run)
    monkeypatch.setenv("HF_SSL_TRACEBACK", variable)
    with pytest.raises(type(error)):
        main(["algorithms"])


def test_a_reader_who_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "hf_ssl.cli", "benchmark", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 0
        assert process.stderr.read() == ""


# ---- Importing ----


def test_importing_the_package_reads_a_handful_of_modules():
    """It is instant: what takes the time are modules, whose number does not depend on the load of the machine."""
    code = "import sys; before = set(sys.modules); import hf_ssl; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    found = done.stdout.split()
    assert {name.partition(".")[0] for name in found} - {"hf_ssl"} - sys.stdlib_module_names == set()
    assert len([name for name in found if name.startswith("hf_ssl")]) <= 6
    # torch alone would bring more than a thousand.
    assert len(found) < 100


HEAVY = {"torch", "transformers", "numpy", "datasets", "huggingface_hub", "yaml", "pyarrow"}
HELP_OF_ALL = """
from argparse import _SubParsersAction
from hf_ssl.cli import build_parser

def show(parser):
    print(parser.format_help())
    for action in parser._actions:
        for inner in action.choices.values() if isinstance(action, _SubParsersAction) else ():
            show(inner)

show(build_parser())
"""
LIGHT = {
    "the package": ("import hf_ssl, hf_ssl.cli", HEAVY),
    # `hf-ssl train --help` is not among them: it is what the words after "train" are parsed for.
    "the help of every command": (HELP_OF_ALL, HEAVY),
    "the benchmark's commands": (
        "import hf_ssl.benchmark.publish, hf_ssl.benchmark.load, hf_ssl.report",
        {"torch", "transformers"},
    ),
}


@pytest.mark.parametrize(("code", "heavy"), LIGHT.values(), ids=LIGHT)
def test_importing_loads_nothing_heavy(code, heavy):
    code = f"{code}\nimport sys; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


def test_unknown_public_names_list_the_known_ones():
    import hf_ssl

    with pytest.raises(AttributeError, match="SSLTrainer"):
        hf_ssl.SSLTraner  # noqa: B018
    assert hf_ssl.SSLConfig.__name__ == "SSLConfig"
