"""What MultiMatch's models answer with, in evaluation and in a folder: the mean of its heads."""

import torch
from transformers import AutoModelForImageClassification

from hf_ssl import ModelForward
from hf_ssl.model.head import find_head


def test_the_saved_classifier_is_the_mean_of_the_heads(make_trainer, images, tmp_path):
    trainer = make_trainer(
        trainer={"eval_dataset": images["test"]}, algorithm="multimatch", algorithm_kwargs=None, learning_rate=0.05
    )
    trainer.train()
    weight, bias = trainer.algorithm.answer.corrected_head(ModelForward(trainer.model))
    own = find_head(trainer.model).weight.detach().clone()
    answers = trainer.predict(images["test"]).predictions
    trainer.save_model(tmp_path / "saved")
    saved = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(find_head(saved).weight, weight)
    torch.testing.assert_close(find_head(saved).bias, bias)
    # The one in training is as it was.
    assert torch.equal(find_head(trainer.model).weight, own) and not torch.allclose(own, weight)
    trainer.model.load_state_dict(saved.state_dict())
    trainer.algorithm.answer.begin_with(weight, bias)
    assert abs(trainer.predict(images["test"]).predictions - answers).max() < 1e-5
