"""`hf-ssl label`: every answer is in the file before the next is asked for, and nothing else in the file changes."""

import json
import os
import stat

import pytest

from hf_ssl.cli import main
from hf_ssl.cli.label_file import LabelFile
from hf_ssl.cli.labeling import Labeling, class_names
from hf_ssl.data.sources import load_source

CSV = 'id,text,label,note\n007,a rose,, spaced \n1e3,"the sky, ""blue""",old,x\n3,"two\nlines",,\n'


@pytest.fixture
def write(tmp_path):
    def written(content, name="rows.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return path

    return written


@pytest.mark.parametrize(
    ("content", "expected", "options"),
    [
        (CSV, CSV.replace("a rose,,", "a rose,flower,"), {}),
        (CSV.replace("\n", "\r\n"), CSV.replace("a rose,,", "a rose,flower,").replace("\n", "\r\n"), {}),
        ("text;label\na, b;\n", "text;label\na, b;flower\n", {}),
        ("sep=;\ntext;label\na;\n", "sep=;\ntext;label\na;flower\n", {}),
        ("text,label\na rose,", "text,label\na rose,flower", {}),
        ("\n\ntext,label\n\na rose,\n\n", "\n\ntext,label\n\na rose,flower\n\n", {}),
        ("text\na rose\nthe sky\n", "text,label\na rose,flower\nthe sky,\n", {}),
        ("label,text\n,a rose\n", "label,text\nflower,a rose\n", {}),
        ("text,id,label\na rose\n", "text,id,label\na rose,,flower\n", {}),
        ("text\tlabel\na\t\n", "text\tlabel\na\tflower\n", {"name": "rows.tsv"}),
        (CSV, CSV.replace("a rose,,", "a rose,flower,"), {"encoding": "utf-16"}),
        (CSV, CSV.replace("a rose,,", "a rose,flower,"), {"encoding": "utf-8-sig"}),
        ('{"text": "é", "n": 1.50}\n{"text": "b"}\n', '{"text": "é", "n": 1.5, "label": "flower"}\n{"text": "b"}\n',
         {"name": "rows.jsonl"}),
    ],
)  # fmt: skip
def test_only_the_label_changes(write, content, expected, options):
    path = write(content, **options)
    with LabelFile(path) as file:
        file.write(0, "flower")
    assert path.read_bytes().decode(options.get("encoding", "utf-8")) == expected
    again = load_source(str(path), "labeled").dataset
    assert again["label"][0] == "flower"


@pytest.mark.parametrize("name", ['a, b "c"', "été", "=1+1", "001"])
def test_a_class_of_any_name_is_read_back_as_it_is(write, name):
    for path in (write(CSV), write('{"text": "a"}\n', "rows.jsonl")):
        with LabelFile(path) as file:
            file.write(0, name)
        with LabelFile(path) as file:
            assert file.labels[0] == name
        assert load_source(str(path), "labeled").dataset["label"][0] == name


def test_numbers_of_json_stay_numbers(write):
    path = write('{"text": "a", "label": 3}\n{"text": "b", "label": null}\n', "rows.jsonl")
    with LabelFile(path) as file:
        with pytest.raises(ValueError, match="are numbers, got 'x'"):
            file.write(1, "x")
        file.write(1, "4")
    assert json.loads(path.read_text().splitlines()[1]) == {"text": "b", "label": 4}


def test_a_second_instance_is_refused_and_the_first_one_leaves_no_file(write, tmp_path):
    path = write(CSV)
    with LabelFile(path), pytest.raises(ValueError, match="is being labeled by another"):
        LabelFile(path)
    with LabelFile(path):
        pass
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_change_by_another_program_is_not_overwritten(write):
    path = write(CSV)
    with LabelFile(path) as file:
        path.write_text(CSV + "4,more,,\n")
        with pytest.raises(ValueError, match=r"changed by another program, and the label 'flower' was not written"):
            file.write(0, "flower")
    assert path.read_text() == CSV + "4,more,,\n"


def test_mode_and_links_are_kept(write, tmp_path):
    path = write(CSV)
    path.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with LabelFile(link) as file:
        file.write(0, "flower")
    assert link.is_symlink() and "flower" in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("a", "rows.txt", "FILE must be a .csv, .tsv or .jsonl file"),
        ("text,label\n", "rows.csv", "no rows"),
        ('text,label\n"open,\n', "rows.csv", "never closed"),
        (
            "a,b,label\n1,2,\n",
            "rows.csv",
            "a column to be labeled, got the columns a, b, label; name it with --column",
        ),
    ],
)
def test_what_cannot_be_labeled_is_an_error_of_one_line(write, content, name, message, capsys):
    assert main(["label", str(write(content, name)), "--terminal"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_files_are_found_where_training_finds_them(tmp_path, monkeypatch):
    for name in ("here/one.png", "tables/two.png", "tables/rows.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "tables" / "rows.csv"
    path.write_text("image,label\none.png,\ntwo.png,\nthree.png,\n")
    monkeypatch.chdir(tmp_path / "here")
    with LabelFile(path) as file:
        found = [file.file_of(row).resolve().relative_to(tmp_path.resolve()).as_posix() for row in range(3)]
    assert found == ["here/one.png", "tables/two.png", "tables/three.png"]


def test_a_file_that_is_not_there_is_called_that(tmp_path, capsys):
    assert main(["label", str(tmp_path / "picks.csv")]) == 2
    assert f"there is no file {tmp_path / 'picks.csv'}; `hf-ssl pick` writes one" in capsys.readouterr().err


def test_names_of_classes():
    assert class_names(" cat , dog,,cat") == ["cat", "dog"]
    with pytest.raises(ValueError, match="1 to 200 printable letters"):
        class_names("x" * 201)


# ---- In the terminal ----


@pytest.fixture
def say(monkeypatch):
    def prepared(*answers):
        given = iter(answers)

        def answer(_prompt=""):
            try:
                return next(given)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", answer)

    return prepared


def labels_of(path):
    with LabelFile(path) as file:
        return file.labels


def test_numbers_names_and_new_classes_answer(write, say, capsys):
    path = write("text,label\na,\nb,\nc,\nd,\n")
    say("2", "CAT", "bird", "+bird", "dog")
    assert main(["label", str(path), "--classes", "cat,dog", "--terminal"]) == 0
    assert labels_of(path) == ["dog", "cat", "bird", "dog"]
    said = capsys.readouterr().out
    assert "no class is called 'bird'; +bird adds it" in said and "4 of 4 labeled" in said
    assert f"hf-ssl train --model MODEL --labeled {path}" in said


def test_it_goes_on_where_it_was_with_the_classes_that_it_knows(write, say, capsys):
    path = write("text,label\na,\nb,\nc,\n")
    say("x,y", "2", "q")
    main(["label", str(path), "--terminal"])
    # Its command names all classes: "x" has no example yet, and "y" would get its key.
    assert labels_of(path) == ["y", "", ""]
    assert f"Go on any time:  hf-ssl label {path} --classes x,y --terminal\n" in capsys.readouterr().out
    say("1", "", "+x")
    main(["label", str(path), "--terminal"])
    assert labels_of(path) == ["y", "y", "x"]


def test_undo_takes_answers_back_one_by_one(write, say):
    path = write("text,label\na,\nb,\nc,z\n")
    say("1", "1", "u", "u", "u", "+new", "q")
    main(["label", str(path), "--terminal"])
    assert labels_of(path) == ["new", "", "z"]


def test_control_sequences_in_a_text_do_nothing_to_the_terminal(write, say, capsys):
    say("q")
    main(["label", str(write("text,label\na\x1b[2Jb,\n")), "--classes", "x", "--terminal"])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "a\\x1b[2Jb" in said


def test_a_row_that_is_not_there_is_refused(write):
    with LabelFile(write(CSV)) as file, pytest.raises(ValueError, match="the row must be in 0 to 2, got 3"):
        Labeling(file).answer(3, "x")
