"""What the algorithms for several labels do, by numbers: the loss, the thresholds of CAP, and what is refused."""

import math

import pytest
import torch

from hf_ssl import ModelForward, Progress, SSLBatch, get_algorithm, losses
from hf_ssl.algorithms import ALGORITHMS, resolve_algorithm
from hf_ssl.algorithms.multi_label import MULTI_LABEL_ALGORITHMS
from hf_ssl.algorithms.multi_label.thresholds import ClassAwareThresholds, LabelThresholds
from hf_ssl.problem_types import MULTI_LABEL, REGRESSION

from tests.helpers.algorithm_cases import make_algorithm, make_models, run_step

SIZES = {"num_classes": 3, "feature_size": 3, "num_labeled": 1, "num_unlabeled": 2}
SIZES |= {"labeled_batch_size": 1, "unlabeled_batch_size": 2, "problem_type": MULTI_LABEL}


def run(name, weak, strong, labeled=((0.0, 0.0, 0.0),), labels=((1.0, 0.0, 1.0),), progress=None, **settings):
    """A step of a model whose logits are its inputs."""
    algorithm = get_algorithm(name, **SIZES, **settings).double()
    head = torch.nn.Linear(3, 3)
    head.weight.data, head.bias.data = torch.eye(3), torch.zeros(3)
    model = torch.nn.Sequential(torch.nn.Identity(), head).double()

    def view(rows):
        return {"input": torch.tensor(rows, dtype=torch.float64)}

    batch = SSLBatch(view(labeled), torch.tensor(labels), {"weak": view(weak), "strong": view(strong)})
    return algorithm(ModelForward(model, teacher=model), batch, progress or Progress(5, 10, 5))


def bce(logit, present):
    return math.log1p(math.exp(-logit if present else logit))


WEAK = [[4.0, 0.0, -4.0], [1.0, -4.0, 4.0]]
STRONG = [[1.0, 2.0, 3.0], [0.5, -1.0, -2.0]]


def test_fixmatch_by_hand():
    output = run("fixmatch", WEAK, STRONG, unsupervised_weight=0.5)
    # sigmoid(4) = 0.982: four of the six labels are certain.
    assert output.mask.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert output.pseudo_labels.tolist() == [[1, 0, 0], [0, 0, 1]]
    pool = bce(1.0, True) + bce(3.0, False) + bce(-1.0, False) + bce(-2.0, True)
    assert output.loss.item() == pytest.approx(math.log(2) + 0.5 * pool / 6)
    assert output.metrics["mask_ratio"].item() == pytest.approx(4 / 6)


def test_pseudo_label_by_hand():
    output = run("pseudo_label", WEAK, STRONG, progress=Progress(1, 10, 5))
    pool = 4 * bce(4.0, True)
    assert output.loss.item() == pytest.approx(math.log(2) + 0.25 * pool / 6)


def test_mean_teacher_by_hand():
    output = run("mean_teacher", WEAK, STRONG)
    weak, strong = (torch.sigmoid(torch.tensor(rows)) for rows in (WEAK, STRONG))
    assert output.loss.item() == pytest.approx(math.log(2) + (weak - strong).square().mean().item())


@pytest.mark.parametrize("name", ["supervised", "fixmatch", "pseudo_label"])
def test_an_asymmetric_loss_is_a_setting_of_every_algorithm(name):
    settings = {"gamma_positive": 1.0, "gamma_negative": 2.0, "clip": 0.1}
    output = run(name, WEAK, STRONG, labeled=[[0.0, 1.0, 0.0]], unsupervised_weight=0.0, **settings)
    p = 1 / (1 + math.exp(-1.0))
    positive, negative = 0.5 * math.log(2), -((p - 0.1) ** 2) * math.log(1 - (p - 0.1))
    assert output.loss.item() == pytest.approx((2 * positive + negative) / 3)


def test_the_pool_has_the_asymmetric_loss_as_well():
    plain, asymmetric = (run("fixmatch", WEAK, STRONG, gamma_negative=gamma) for gamma in (0.0, 3.0))
    logits, mask, targets = torch.tensor(STRONG).double(), plain.mask, plain.pseudo_labels
    for output, gamma in ((plain, 0.0), (asymmetric, 3.0)):
        expected = losses.asymmetric_loss(logits, targets, mask, 0.0, gamma, 0.0)
        torch.testing.assert_close(output.terms["unsupervised"], expected)
    assert asymmetric.terms["unsupervised"] < plain.terms["unsupervised"]


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.5, 0.5), (1.0, 4.0)])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_gradients_are_finite_for_any_logit(gammas, clip):
    logits = torch.tensor([[-100.0, -30.0, -3.0, math.log(0.05 / 0.95), 0.0, 3.0, 30.0, 100.0]]).requires_grad_()
    for targets in (torch.zeros(1, 8), torch.ones(1, 8)):
        (gradient,) = torch.autograd.grad(losses.asymmetric_loss(logits, targets, None, *gammas, clip), logits)
        assert gradient.isfinite().all()
        sign = 1 if targets[0, 0] == 0 else -1
        assert (sign * gradient >= 0).all()


def test_negatives_below_the_clip_count_nothing():
    logits = torch.tensor([[-4.0, -3.0]]).requires_grad_()  # 0.018, 0.047
    loss = losses.asymmetric_loss(logits, torch.zeros(1, 2), gamma_negative=0.0, clip=0.05)
    loss.backward()
    assert loss == 0 and logits.grad.abs().sum() == 0


# ---- Thresholds ----


def test_thresholds_leave_open_what_lies_between():
    targets, mask = LabelThresholds(0.6, 0.2)(torch.tensor([[0.6, 0.59, 0.21, 0.2]]))
    assert targets.tolist() == [[1, 0, 0, 0]] and mask.tolist() == [[1, 0, 0, 1]]


@pytest.mark.parametrize("shares", [[0.5, 0.1, 0.01], [0.9, 0.3, 0.0]])
def test_the_pool_gets_each_label_as_often_as_the_labeled_set_has_it(shares):
    """Also where the probabilities of a label are all far below a half."""
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(40, 50, 3, generator=generator) * torch.tensor([1.0, 0.2, 0.01])
    rule = ClassAwareThresholds(torch.tensor(shares), batch_size=50, queue_size=1000)
    found = [rule(part) for part in probs]
    targets = torch.cat([targets for targets, _ in found[20:]])
    torch.testing.assert_close(targets.mean(dim=0), torch.tensor(shares), rtol=0, atol=0.02)
    assert torch.cat([mask for _, mask in found[20:]]).mean() > 0.97


def test_the_surest_count_first():
    rule = ClassAwareThresholds(torch.tensor([0.4]), 10, 10, positive_share=0.5, negative_share=0.5)
    probs = torch.arange(10.0)[:, None] / 10
    rule(probs)
    targets, mask = rule(probs)
    # Half of the four expected positives, and half of the six negatives.
    assert targets.flatten().tolist() == [0] * 8 + [1] * 2
    assert mask.flatten().tolist() == [1] * 3 + [0] * 5 + [1] * 2


def test_the_first_step_has_no_thresholds_and_no_example_is_both():
    rule = ClassAwareThresholds(torch.tensor([0.5]), 3, 3)
    probs = torch.tensor([[0.1], [0.2], [0.3]])
    targets, mask = rule(probs)
    assert targets.sum() == 0 and mask.sum() == 0
    # Of three, one and a half: two are present, and one is absent.
    targets, mask = rule(probs)
    assert targets.flatten().tolist() == [0, 1, 1] and mask.sum() == 3


def test_the_oldest_predictions_are_forgotten():
    rule = ClassAwareThresholds(torch.tensor([0.5]), batch_size=2, queue_size=5)
    assert rule.recent_probabilities.shape == (4, 1)
    for start in (0.1, 0.3, 0.5):
        rule(torch.tensor([[start], [start + 0.1]]))
    torch.testing.assert_close(rule.recent_probabilities.flatten(), torch.tensor([0.5, 0.6, 0.3, 0.4]))
    assert rule.recent_count == 4 and rule.positive_threshold.item() == pytest.approx(0.5)


def test_cap_follows_the_labeled_shares_and_not_a_half():
    algorithm, models = make_algorithm("multi_label/cap"), make_models()
    assert algorithm.thresholds.shares.tolist() == pytest.approx([0.5, 0.35, 0.1])
    for step in range(3):
        output = run_step("multi_label/cap", algorithm, step, models)
    counts = output.pseudo_labels.sum(dim=0)
    assert counts[0] > counts[2]


# ---- What is refused ----

FAMILIES = {
    "freematch": "its threshold looks at the largest of C probabilities that add up to 1",
    "simmatch": "its threshold looks at the largest of C probabilities that add up to 1",
    "noisy_student": "its threshold looks at the largest of C probabilities that add up to 1",
    "multimatch": "its heads vote on one class",
    "remixmatch": "it sharpens one distribution over C classes",
    "vat": "it compares distributions over C classes",
    "entropy_minimization": "it minimizes the entropy of one distribution",
    "pi_model": "mean_teacher does the same",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_an_algorithm_for_one_class_says_why(name):
    with pytest.raises(ValueError, match=f"for several labels per example .*, got '{name}', .*: {FAMILIES[name]}"):
        resolve_algorithm(name, MULTI_LABEL)


def test_every_algorithm_that_is_missing_somewhere_has_a_reason():
    for name, algorithm in ALGORITHMS.items():
        if name not in MULTI_LABEL_ALGORITHMS:
            with pytest.raises(ValueError, match="which is for") as error:
                resolve_algorithm(name, MULTI_LABEL)
            assert algorithm.presumes and str(error.value).endswith(algorithm.presumes)
    with pytest.raises(ValueError, match="'cap', which is for several labels per example: it judges C labels"):
        resolve_algorithm("cap", REGRESSION)


@pytest.mark.parametrize("kind", [MULTI_LABEL, REGRESSION])
def test_corrections_for_long_tails_are_refused(kind):
    sizes = {**SIZES, "problem_type": kind}
    with pytest.raises(ValueError, match=r"imbalance must be None for .*, got 'abc': corrections count examples by"):
        get_algorithm("supervised", imbalance="abc", **sizes)


def test_a_family_s_default_may_be_another_one():
    shown = {name: each.default for name, each in MULTI_LABEL_ALGORITHMS["cap"].settings().items()}
    made = get_algorithm("cap", **SIZES).current_settings()
    assert shown == made and shown["gamma_negative"] == 4.0 and shown["clip"] == 0.05
    assert MULTI_LABEL_ALGORITHMS["fixmatch"].settings()["gamma_negative"].default == 0.0


def test_a_criterion_of_the_user_takes_the_place_of_the_loss():
    algorithm = make_algorithm("multi_label/supervised")
    algorithm.criterion = lambda logits, targets, weights: 0 * logits.sum() + targets.sum(dim=-1).max()
    assert run_step("multi_label/supervised", algorithm, 0).loss == 2
