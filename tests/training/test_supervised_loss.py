"""A custom loss of labeled examples, and label smoothing: in all algorithms, in training and in evaluation."""

import pytest
import torch
from torch.nn import functional as F
from transformers.trainer_pt_utils import LabelSmoother

from hf_ssl import SSLConfig, SSLTrainer, losses
from hf_ssl.algorithms import ALGORITHMS, AlgorithmOutput, SSLAlgorithm
from hf_ssl.training.supervised_loss import SupervisedLoss

from tests.helpers.algorithm_cases import make_algorithm, run_step
from tests.helpers.tiny_tasks import new_model, task

WEIGHTS = torch.tensor([1.0, 2.0, 5.0])


def make(folder, cls=SSLTrainer, algorithm=None, *, model=None, function=None, **config):
    settings = {"max_steps": 1, "per_device_train_batch_size": 4, "unlabeled_batch_ratio": 1, "logging_steps": 1}
    settings |= {"algorithm": "supervised", "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0}
    settings |= {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    settings |= {"dataloader_num_workers": 0, "duplicate_check_seconds": 0, "weight_decay": 0.0}
    args = SSLConfig(str(folder), **{**settings, **config})
    keywords = {**task("text"), "algorithm": algorithm, "compute_loss_func": function}
    return cls(model or new_model("text"), args, **keywords)


def weighted(outputs, labels, num_items_in_batch=None):
    return F.cross_entropy(outputs.logits, labels, weight=WEIGHTS)


def summed(outputs, labels, num_items_in_batch=None):
    """As functions for Trainer usually are."""
    return 3 * F.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


def by_hand(logits, labels):
    return -(WEIGHTS[labels] * logits.log_softmax(-1)[torch.arange(len(labels)), labels]).sum() / WEIGHTS[labels].sum()


@pytest.mark.parametrize("targets", ["classes", "distributions"])
def test_smoothing_is_that_of_transformers_and_of_torch(targets):
    logits, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 2])
    given = labels if targets == "classes" else F.one_hot(labels, 3).float()
    mine = SupervisedLoss(label_smoothing=0.2)(logits, given)
    torch.testing.assert_close(mine, LabelSmoother(epsilon=0.2)({"logits": logits}, labels))
    torch.testing.assert_close(mine, F.cross_entropy(logits, labels, label_smoothing=0.2))
    masked = losses.cross_entropy(logits, given, torch.tensor([1.0, 0, 0, 0, 0]), label_smoothing=0.2)
    smooth = 0.8 * F.one_hot(labels[:1], 3) + 0.2 / 3
    torch.testing.assert_close(masked, -(smooth * logits[:1].log_softmax(-1)).sum() / 5)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_asks_for_the_loss_of_labeled_examples(name):
    plain, asked = make_algorithm(name), make_algorithm(name)
    seen = []

    def criterion(logits, targets, weights=None):
        seen.append(logits)
        return 2 * losses.cross_entropy(logits, targets, weights)

    asked.criterion = criterion
    before, after = run_step(name, plain, 1), run_step(name, asked, 1)
    assert len(seen) == {"defixmatch": 2, "multimatch": 3}.get(name, 1)
    torch.testing.assert_close(after.terms["supervised"], 2 * before.terms["supervised"])
    torch.testing.assert_close(after.loss, before.loss + before.terms["supervised"])
    for term in before.terms.keys() - {"supervised"}:
        torch.testing.assert_close(after.terms[term], before.terms[term])


def test_dash_measures_the_cross_entropy_in_any_case():
    measured = []
    for factor in (None, 10.0):
        dash = make_algorithm("dash", initial_loss_threshold=None, warmup_fraction=0.5)
        if factor is not None:
            dash.criterion = lambda *given: factor * losses.cross_entropy(*given)  # noqa: B023 - called in this round
        run_step("dash", dash, 3)
        run_step("dash", dash, 4)
        measured.append(dash.initial_loss)
    assert measured[0] > 0
    torch.testing.assert_close(measured[1], measured[0])


class ForTrainer(SSLTrainer):
    """As the documentation of Trainer shows it."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels, weight=WEIGHTS)
        return (loss, outputs) if return_outputs else loss


CASES = {
    "class weights": ({"function": weighted}, by_hand),
    "a sum over num_items_in_batch": ({"function": summed}, lambda *given: 3 * F.cross_entropy(*given)),
    "a subclass for Trainer": ({"cls": ForTrainer}, by_hand),
    "smoothing": ({"label_smoothing_factor": 0.3}, lambda *given: F.cross_entropy(*given, label_smoothing=0.3)),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_the_weights_follow_and_what_is_evaluated(case, tmp_path):
    given, expected = CASES[case]
    trainer = make(tmp_path, **given)
    reference = new_model("text")
    batch = next(iter(trainer.get_train_dataloader()))
    logits = reference(**batch["labeled"]["labeled"]).logits
    loss = expected(logits, batch["labels"])
    gradient = torch.autograd.grad(loss, reference.classifier.weight)[0]
    rows = trainer.data_collator([trainer.eval_dataset[i] for i in range(6)])
    labels = rows.pop("labels")
    with torch.no_grad():
        evaluated = expected(reference.eval()(**rows).logits, labels).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(evaluated, rel=1e-5)
    trainer.train()
    assert trainer.state.log_history[-2]["supervised"] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(trainer.model.classifier.weight, reference.classifier.weight - 0.1 * gradient)


def test_accumulated_passes_give_the_step_of_the_whole_batch(tmp_path):
    whole = make(tmp_path, function=summed)
    whole.train()
    split = make(tmp_path, function=summed, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    split.train()
    torch.testing.assert_close(split.model.classifier.weight, whole.model.classifier.weight)


# ---- What is refused, in one line at construction ----


class Doubled(SSLTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return (2 * loss[0], loss[1]) if return_outputs else 2 * loss


class Twice(SSLTrainer):
    """Compares two passes with different dropout."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        first, second = model(**inputs).logits, model(**inputs).logits
        return F.cross_entropy(first, labels) + F.mse_loss(first, second)


class Reader(SSLTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return model(**inputs).logits.mean() * inputs["input_ids"].shape[1]


class Own(SSLAlgorithm):
    views = {}

    def forward(self, model, batch, progress):
        loss = losses.cross_entropy(model(labeled=batch.labeled)["labeled"].logits, batch.labels)
        return AlgorithmOutput(loss, {"supervised": loss.detach()})


TSA = {"algorithm_kwargs": {"tsa_schedule": "linear"}}
REFUSED = [
    ({"cls": Twice}, ValueError, "Twice.compute_loss must call the model once, got a second call; call super"),
    ({"cls": Reader}, ValueError, "cannot be trained with Supervised: 'input_ids'"),
    ({"cls": ForTrainer, "function": weighted}, ValueError, "must be left out beside ForTrainer.compute_loss"),
    ({"cls": ForTrainer, "label_smoothing_factor": 0.1}, ValueError, "must be 0 beside ForTrainer.compute_loss"),
    ({"cls": ForTrainer, "algorithm": Own}, ValueError, r"ForTrainer.compute_loss would be .*self.labeled_loss"),
    ({"function": weighted, "label_smoothing_factor": 0.1}, ValueError, "label_smoothing_factor must be 0 beside"),
    ({"label_smoothing_factor": 1.0}, ValueError, r"label_smoothing_factor must be in \[0, 1\)"),
    ({"function": weighted, "algorithm": Own}, ValueError, r"compute_loss_func would be .*self.labeled_loss"),
    ({"label_smoothing_factor": 0.1, "algorithm": Own}, ValueError, "label_smoothing_factor would be ignored"),
    ({"function": lambda outputs, labels, **_: outputs.logits}, ValueError, r"a scalar tensor, got .* \[2, 3\]; take"),
    ({"function": lambda outputs, labels, **_: 1.0}, ValueError, "must return a scalar tensor, got float"),
    ({"function": weighted, "named": "uda", **TSA}, ValueError, "set tsa_schedule='none'"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED, ids=[row[2][:30] for row in REFUSED])
def test_what_cannot_work_is_refused(given, error, message, tmp_path):
    given = dict(given)
    config = {"algorithm": given.pop("named")} if "named" in given else {}
    if isinstance(given.get("algorithm"), type):
        config = {"algorithm": "fixmatch"}
    chosen = given.pop("algorithm", None)
    with pytest.raises(error, match=message) as raised:
        make_with(tmp_path, chosen, {**given, **config})
    assert "\n" not in str(raised.value)


def make_with(folder, algorithm, given):
    name = given.pop("algorithm", "supervised")
    cls, function = given.pop("cls", SSLTrainer), given.pop("function", None)
    args = {"max_steps": 1, "algorithm": name, "use_cpu": True, "report_to": "none", "disable_tqdm": True, **given}
    config = SSLConfig(str(folder), dataloader_num_workers=0, **args)
    return cls(new_model("text"), config, **task("text"), algorithm=algorithm, compute_loss_func=function)


def test_a_subclass_that_calls_ours_is_what_it_seems(tmp_path):
    plain, doubled = make(tmp_path), make(tmp_path, cls=Doubled)
    assert doubled.evaluate()["eval_loss"] == pytest.approx(2 * plain.evaluate()["eval_loss"], rel=1e-5)
    losses_of = [trainer.train().training_loss for trainer in (plain, doubled)]
    assert losses_of[1] == pytest.approx(2 * losses_of[0], rel=1e-5)
