"""What a person sees of a training: plain lines, none of them glued to a progress bar."""

import pytest
from transformers import PrinterCallback, ProgressCallback

from tests.helpers.tiny_images import make_vit


@pytest.mark.parametrize("bar", [True, False])
def test_log_lines_are_sentences_and_not_dictionaries(make_trainer, capfd, bar):
    trainer = make_trainer(make_vit(), max_steps=2, logging_steps=1, eval_strategy="steps", eval_steps=2)
    if bar:
        trainer.args.disable_tqdm = False
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(ProgressCallback)
        from hf_ssl.training.progress import show_plain_lines

        show_plain_lines(trainer)
    trainer.train()
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert "{'" not in out + err
    assert [line for line in lines if line.startswith("step 1 of 2: loss ")]
    assert [line for line in lines if line.startswith("step 2 of 2: evaluation in ") and ": loss " in line]
    assert [line for line in lines if line.startswith("trained 2 steps in ")]
    assert ("2/2" in err) == bar
