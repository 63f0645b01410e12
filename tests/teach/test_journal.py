"""Opinions on the disk survive a kill, and another question does not go on with them."""

import numpy as np
import pytest

from hf_ssl.teach.journal import Journal

QUESTION = {"model": "a", "classes": ["x", "y"], "template": None}


def filled(path):
    journal = Journal(path, QUESTION)
    journal.add([np.array([0.25, 0.75], dtype=np.float32), "broken \u2028 file"])
    journal.add([np.array([1 / 3, 2 / 3], dtype=np.float32)])
    return journal


def test_it_goes_on_behind_what_is_there(tmp_path):
    filled(tmp_path / "j")
    again = Journal(tmp_path / "j", QUESTION)
    assert again.opinions == [
        [0.25, 0.75],
        "broken \u2028 file",
        [pytest.approx(1 / 3, abs=1e-6), pytest.approx(2 / 3, abs=1e-6)],
    ]
    again.add([np.array([1.0, 0.0])])
    assert len(Journal(tmp_path / "j", QUESTION).opinions) == 4


@pytest.mark.parametrize("cut", range(1, 21, 4))
def test_a_line_that_was_cut_off_is_written_again(tmp_path, cut):
    whole = filled(tmp_path / "j").opinions
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content[:-cut])
    again = Journal(tmp_path / "j", QUESTION)
    assert again.opinions == whole[:2]
    again.add([np.array(whole[2])])
    assert (tmp_path / "j").read_bytes() == content


def test_a_first_line_that_was_cut_off_begins_again(tmp_path):
    filled(tmp_path / "j")
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes()[:10])
    assert Journal(tmp_path / "j", QUESTION).opinions == [] and not (tmp_path / "j").exists()


def test_another_question_is_refused_by_what_differs(tmp_path):
    filled(tmp_path / "j")
    with pytest.raises(ValueError, match="must be of the same question, got another model and template in it"):
        Journal(tmp_path / "j", {**QUESTION, "model": "b", "template": "a {}"})
    Journal(tmp_path / "j", QUESTION).delete()
    assert Journal(tmp_path / "j", {**QUESTION, "model": "b"}).opinions == []
