"""What a person sees of a training: plain lines, none of them glued to a progress bar."""

import pytest

from tests.helpers.tiny_images import make_vit


@pytest.mark.parametrize("bar", [True, False])
def test_log_lines_are_sentences_and_not_dictionaries(make_trainer, capfd, bar):
    evaluations = {"eval_strategy": "steps", "eval_steps": 2}
    trainer = make_trainer(make_vit(), max_steps=2, logging_steps=1, disable_tqdm=not bar, **evaluations)
    trainer.train()
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert "{'" not in out + err
    assert [line for line in lines if line.startswith("step 1 of 2: loss ")]
    assert [line for line in lines if line.startswith("step 2 of 2: evaluation in ") and ": loss " in line]
    assert [line for line in lines if line.startswith("trained 2 steps in ")]
    assert ("2/2" in err) == bar
