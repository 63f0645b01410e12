"""The command line: help, and one line for whatever is wrong."""

import subprocess
import sys
import time

import pytest

from hf_ssl.cli import build_parser, main


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "quickstart" in text and "algorithms" in text


def test_every_option_has_help():
    for action in build_parser()._subparsers._group_actions[0].choices.values():
        assert action.description
        assert all(option.help for option in action._actions)


WRONG = [
    (["quickstart", "--algorithm", "fixmatc"], "unknown algorithm 'fixmatc'; the known ones are"),
    (["quickstart", "--labels-per-class", "0"], "labels per class must be between 1 and 1"),
    (["quickstart", "--labels-per-class", "500"], "labels per class must be between 1 and 1"),
    (["quickstart", "--seeds", "-1"], "seeds must be at least 0, got -1"),
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


@pytest.mark.parametrize("target", ["file", "file/inside"])
def test_an_output_folder_that_cannot_be_written_is_refused_at_once(tmp_path, capsys, target):
    (tmp_path / "file").write_text("not a folder")
    assert main(["quickstart", "--output-dir", str(tmp_path / target)]) == 2
    assert "--output-dir" in capsys.readouterr().err


def test_algorithms_lists_the_table(capsys):
    from hf_ssl.algorithms import ALGORITHMS

    assert main(["algorithms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(ALGORITHMS)


def test_one_algorithm_is_described_with_its_defaults(capsys):
    assert main(["algorithms", "fixmatch"]) == 0
    text = capsys.readouterr().out
    assert "threshold=0.95" in text and "2001.07685" in text and "@inproceedings" in text


@pytest.mark.slow
def test_importing_the_package_is_instant():
    def seconds(code):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds("import hf_ssl") - seconds("pass") < 0.3


LIGHT = {
    "the package": ("hf_ssl, hf_ssl.cli", {"torch", "transformers", "numpy", "datasets"}),
    "the benchmark's commands": (
        "hf_ssl.benchmark.publish, hf_ssl.benchmark.load, hf_ssl.report",
        {"torch", "transformers"},
    ),
}


@pytest.mark.parametrize(("modules", "heavy"), LIGHT.values(), ids=LIGHT)
def test_importing_loads_nothing_heavy(modules, heavy):
    code = f"import sys, {modules}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_unknown_public_names_list_the_known_ones():
    import hf_ssl

    with pytest.raises(AttributeError, match="SSLTrainer"):
        hf_ssl.SSLTraner  # noqa: B018
    assert hf_ssl.SSLConfig.__name__ == "SSLConfig"


def test_a_reader_who_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "hf_ssl.cli", "algorithms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.wait(timeout=120) == 0
        assert process.stderr.read() == ""
