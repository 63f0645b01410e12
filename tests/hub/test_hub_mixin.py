"""HubMixin by itself: a Trainer with it and with facts that were written by hand writes a card with every model."""

import pytest
from huggingface_hub import ModelCard
from transformers import Trainer

from hf_ssl.hub.card_facts import CardFacts
from hf_ssl.hub.mixin import HubMixin

from tests.helpers.run_facts import make_run
from tests.helpers.tiny_images import make_images, make_vit


class WithoutFacts(HubMixin, Trainer):
    """A host that has forgotten to say what is known of its run."""

    def __init__(self, folder):
        run = make_run()
        run.args.output_dir = str(folder)
        super().__init__(make_vit(), run.args, train_dataset=make_images(6, 0), eval_dataset=make_images(6, 2))
        self.data, self.unlabeled_dataset, self.card = run.data, make_images(24, 1), CardFacts()


class Host(WithoutFacts):
    def run_facts(self):
        return make_run(history=({"eval_accuracy": 0.5, "mask_ratio": 0.1, "step": 10},))


def test_a_saved_model_has_its_card(tmp_path):
    Host(tmp_path).save_model()
    card = ModelCard.load(tmp_path / "README.md")
    assert "`ViTForImageClassification`, trained by FixMatch, with 6 labeled and 24 unlabeled examples" in card.content
    assert card.data.eval_results[0].metric_value == 0.5
    assert f'model = "{tmp_path.name}"' in card.content


def test_what_was_told_once_stays_on_the_card(tmp_path):
    trainer = Host(tmp_path)
    trainer.create_model_card(license="mit", tags="gray", dataset=["someone/a", "someone/b"])
    trainer.create_model_card(language="en")
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.language) == ("mit", "en")
    assert "gray" in card.data.tags and "trained on someone/a, someone/b by FixMatch, with" in card.content


def test_a_host_without_facts_is_told_what_to_define(tmp_path):
    with pytest.raises(NotImplementedError, match=r"WithoutFacts must define run_facts\(\)"):
        WithoutFacts(tmp_path).create_model_card()
