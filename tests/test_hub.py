"""The model card."""

from huggingface_hub import ModelCard


def test_the_card_is_written_from_the_run(make_trainer, tmp_path):
    trainer = make_trainer(eval_strategy="steps", eval_steps=2)
    trainer.train()
    trainer.create_model_card(dataset="made-up pictures", license="apache-2.0")
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "apache-2.0"
    assert {"hf-ssl", "semi-supervised", "fixmatch"} <= set(card.data.tags)
    last = [row for row in trainer.state.log_history if "eval_accuracy" in row][-1]
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"accuracy": round(last["eval_accuracy"], 6), "f1": round(last["eval_f1"], 6)}
    for part in (
        "6 examples, 3 classes, 2 a class",
        "24 examples",
        "`threshold=0.2`",
        "made-up pictures",
        "sohn2020fixmatch",
        "wang2022usb",
    ):
        assert part in card.content, part
    assert "dark, middle, bright" in card.content


def test_no_local_path_reaches_the_card(make_trainer, vit, tmp_path):
    vit.save_pretrained(tmp_path / "private-name")
    trainer = make_trainer(str(tmp_path / "private-name"), max_steps=1)
    trainer.train()
    trainer.create_model_card()
    content = (tmp_path / "run" / "README.md").read_text()
    assert "private-name" not in content and str(tmp_path) not in content
    assert "base_model" not in content


def test_the_base_model_is_named_when_it_is_public(make_trainer, tmp_path):
    trainer = make_trainer(max_steps=1)
    trainer.model.config._name_or_path = "google/vit-base-patch16-224"
    trainer.create_model_card()
    assert ModelCard.load(tmp_path / "run" / "README.md").data.base_model == "google/vit-base-patch16-224"
