"""RegMixMatch: FreeMatch that also trains on mixtures, of the confident examples and of the others with those."""

from typing import Any

import torch

from .. import losses
from ..batches.batch import SSLBatch
from ..model.forward import ModelForward
from ..model.padding import concatenate
from .freematch import FreeMatch
from .parts.mixup import blend, blend_inputs, draw_beta
from .parts.partners import Partners, choose_partners
from .problem import Progress, check
from .weak_strong import Outputs


class RegMixMatch(FreeMatch):
    """FreeMatch with two terms on mixtures of strong views, beside the usual one on the views themselves: those of
    confident examples among each other, and those of each other example with a labeled or confident one of the class
    that it is predicted as.

        q = softmax(f(weak(u))),  confident = [max q >= threshold_high]
        mix(i, j) = lambda * strong(u_i) + (1 - lambda) * strong(u_j), likewise their targets: the class of a confident
        example, q of another one, the label of a labeled one
        regmix = sum over the confident i of CE(f(mix(i, permutation(i))), mixed target) / mu*B
        class_aware = mean over the other i of (max q_i)^3 * |softmax(f(mix(i, partner(i)))) - mixed target|^2 / C
        loss = CE(f(x), y) + unsupervised_weight * mean(mask * CE(f(strong(u)), target(q)))
               + fairness_weight * fairness + regmix + class_aware

    with mask and fairness as in FreeMatch. An example without a partner is not mixed. Images are mixed as inputs,
    texts and recordings as features (manifold mixup), which is this library's extension: the paper has images only.

    Shapes: labeled `[B]`, unlabeled `[mu*B]`, mixtures `[mu*B]`, or `[B + mu*B]` with `mix_labeled`.

    Args:
        threshold_high: confidence from which an example is mixed with its like, in (0, 1]; default 0.999.
        mix_labeled: let the labeled examples be among the confident ones of regmix; default False. The authors do so
            with 100 or more labels for each class.
        class_aware_weighting: "example" (default) as in the formula, or "batch", as the authors' code is: the mean
            error times the mean of the cubes.
        mixup_alpha: lambda of regmix is drawn from Beta(mixup_alpha, mixup_alpha), above 0; default 1.
        class_mixup_alpha: lambda of class_aware likewise, above 0; default 16.
        hard_labels: train the strong views towards the class; otherwise towards softmax(logits / temperature).
        temperature: of soft targets, above 0; default 0.5.
        momentum: of the running statistics, in [0, 1); default 0.999.
        fairness_weight: factor of the fairness term, at least 0; default 0.01.
        use_quantile: let FreeMatch's threshold follow the 0.8 quantile of the confidences instead of their mean.
        clip_threshold: keep FreeMatch's global threshold at 0.95 or below.
        reward_start: filter by a learned reward, see `WeakStrongAlgorithm`; default None, no filter.
        margin_penalty: against overconfidence, at least 0; default 0, see `WeakStrongAlgorithm`.

    Note:
        Where the formula blends two images, the authors paste one, made smaller, into the other (ResizeMix), and
        lambda is the share of the area; and in every second step they take any confident example as the partner. The
        paper's text was not compared, only its code. With several processes each mixes its own part of the batch, so
        two with half a batch each draw other mixtures than one.

    Paper: Han et al., "RegMixMatch: Optimizing Mixup Utilization in Semi-Supervised Learning", AAAI 2025,
    arXiv 2412.10741.
    """

    title = "RegMixMatch"
    summary = "FreeMatch with mixtures of confident examples, and of others with those of their class"
    year = 2025
    arxiv = "2412.10741"
    citation = """@inproceedings{han2025regmixmatch,
  title = {{RegMixMatch}: Optimizing Mixup Utilization in Semi-Supervised Learning},
  author = {Han, Haorong and Yuan, Jidong and Wei, Chixuan and Yu, Zhongyang},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2025}
}"""

    def __init__(
        self,
        *,
        threshold_high: float = 0.999,
        mix_labeled: bool = False,
        class_aware_weighting: str = "example",
        mixup_alpha: float = 1.0,
        class_mixup_alpha: float = 16.0,
        fairness_weight: float = 0.01,
        **task: Any,
    ):
        super().__init__(fairness_weight=fairness_weight, **task)
        check(0 < threshold_high <= 1, "threshold_high", threshold_high, "in (0, 1]")
        check(mixup_alpha > 0, "mixup_alpha", mixup_alpha, "above 0")
        check(class_mixup_alpha > 0, "class_mixup_alpha", class_mixup_alpha, "above 0")
        known = class_aware_weighting in ("example", "batch")
        check(known, "class_aware_weighting", repr(class_aware_weighting), "example or batch")
        self.threshold_high, self.mix_labeled = threshold_high, mix_labeled
        self.class_aware_weighting = class_aware_weighting
        self.mixup_alpha, self.class_mixup_alpha = mixup_alpha, class_mixup_alpha

    def run(self, model: ModelForward, batch: SSLBatch) -> Outputs:
        """The weak view first, since it decides what is mixed; "mixed" are the logits of the mixtures."""
        views = batch.unlabeled
        out: Outputs = model(no_grad={"weak": views["weak"]})
        chosen, weight = self.draw(batch, losses.probabilities(out["weak"].logits))
        if self.problem.modality == "image":
            joined = blend_inputs(concatenate([batch.labeled, views["strong"]]), chosen.partner, weight)
            mixed = {key: values[self._first_row(batch) :] for key, values in joined.items()}
            out |= model(labeled=batch.labeled, strong=views["strong"], frozen={"mixed": mixed})
            out["mixed"] = out["mixed"].logits
        else:
            out |= model(labeled=batch.labeled, strong=views["strong"])
            features = blend(torch.cat([out["labeled"].features, out["strong"].features]), chosen.partner, weight)
            out["mixed"] = model.classify(features[self._first_row(batch) :])
        out["partners"], out["mix_weight"] = chosen, weight
        return out

    def _first_row(self, batch: SSLBatch) -> int:
        """Of [labeled, strong] those from here on are mixed."""
        return 0 if self.mix_labeled else len(batch.labels)

    @torch.no_grad()
    def draw(self, batch: SSLBatch, probs: torch.Tensor) -> tuple[Partners, torch.Tensor]:
        """What is mixed with what, and with which lambda [B + mu*B], by the weak predictions `[mu*B, C]`."""
        confidence, labels = probs.max(dim=-1)
        chosen = choose_partners(
            batch.labels,
            labels,
            confidence >= self.threshold_high,
            self.mix_labeled,
            batch.mix_permutation,
            batch.class_mix_partner,
        )
        first = draw_beta(self.mixup_alpha) if batch.mix_lambda is None else batch.mix_lambda.reshape(())
        second = draw_beta(self.class_mixup_alpha) if batch.class_mix_lambda is None else batch.class_mix_lambda
        among, alone = chosen.among.to(probs.dtype), chosen.alone.to(probs.dtype)
        return chosen, among * first + (1 - among) * (alone + (1 - alone) * second.reshape(()))

    def additions(
        self, out: Outputs, probs: torch.Tensor, mask: torch.Tensor, batch: SSLBatch, progress: Progress
    ) -> dict[str, Any]:
        """The fairness term and those of the mixtures."""
        chosen, first, labeled = out["partners"], self._first_row(batch), len(batch.labels)
        weak = losses.probabilities(out["weak"].logits)
        confidence, labels = weak.max(dim=-1)
        sure = confidence >= self.threshold_high
        own = torch.where(sure.unsqueeze(-1), losses.one_hot(labels, weak.shape[-1]).to(weak), weak)
        known = torch.cat([losses.one_hot(batch.labels, weak.shape[-1]).to(weak), own])
        targets = blend(known, chosen.partner, out["mix_weight"])
        among = chosen.among.to(weak.dtype)[first:]
        regmix = losses.cross_entropy(out["mixed"], targets[first:], among) * (len(among) / len(weak))
        others = (~sure).to(weak.dtype)
        cubes, size = others * confidence**3, others.sum().clamp_min(1)
        mixed, targets = out["mixed"][labeled - first :], targets[labeled:]
        if self.class_aware_weighting == "example":
            error = losses.squared_error(mixed, targets, cubes) * (len(weak) / size)
        else:
            error = losses.squared_error(mixed, targets, others) * (len(weak) / size) * (cubes.sum() / size)
        extra = super().additions(out, probs, mask, batch, progress)["extra"]
        ramp = progress.unsupervised_ramp
        extra |= {"regmix": (ramp, regmix), "class_aware": (ramp, error)}
        return {"extra": extra, "metrics": {"confident_ratio": sure.to(weak.dtype).mean()}}
