"""A sample of `examples/benchmarks/models_table.py`, which tries every classifier of transformers."""

import json
from collections import Counter

import pytest

# Model type -> class and the algorithms that refuse it; one of each kind.
SAMPLE = {
    # One vector before the head: at the first token, with positions that skip padding, at the end-of-text token.
    "bert": ("BertForSequenceClassification", ()),
    "roberta": ("RobertaForSequenceClassification", ()),
    "bart": ("BartForSequenceClassification", ()),
    # Every token is scored: absolute positions, rotary ones, experts, a recurrence.
    "gpt2": ("GPT2ForSequenceClassification", ()),
    "qwen3": ("Qwen3ForSequenceClassification", ()),
    "mixtral": ("MixtralForSequenceClassification", ()),
    "jamba": ("JambaForSequenceClassification", ()),
    # Padding on the left, and padding that is read on either side.
    "xlnet": ("XLNetForSequenceClassification", ()),
    "canine": ("CanineForSequenceClassification", ("vat",)),
    # Images: batch normalization, windows.
    "resnet": ("ResNetForImageClassification", ()),
    "swin": ("SwinForImageClassification", ()),
    # Recordings: samples, frames in the middle axis, spectra of a fixed length.
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", ()),
    "wav2vec2-bert": ("Wav2Vec2BertForSequenceClassification", ()),
    "whisper": ("WhisperForAudioClassification", ()),
    # Never.
    "reformer": ("ReformerForSequenceClassification", ("fixmatch", "simmatch", "vat", "mixmatch", "remixmatch")),
}


@pytest.fixture(scope="module")
def table(benchmark_scripts):
    """The script, as a module."""
    import models_table

    return models_table


@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_sample_of_all_classifiers(model_type, table, tmp_path):
    name, without = SAMPLE[model_type]
    case = next(case for case in table.cases() if case.model_type == model_type and case.name == name)
    row = table.try_class(case, str(tmp_path))
    results = row["algorithms"]
    assert {algorithm: result for algorithm, result in results.items() if algorithm not in without} == {
        algorithm: "trained" for algorithm in table.ALGORITHMS if algorithm not in without
    }
    assert all(results[algorithm].startswith(f"refused: {name} cannot be trained") for algorithm in without)
    assert row.get("joint") == ("equal" if len(without) < len(table.ALGORITHMS) else None)


def test_the_page_is_what_the_results_say(table):
    rows = [json.loads(line) for line in table.RESULTS.read_text().splitlines()]
    counts = Counter(table.verdict(row) for row in rows)
    assert counts["fault"] == 0 and set(counts) <= {"equal", "refused", "not tried"}
    text = table.PAGE.read_text()
    for kind, count in counts.items():
        assert f"| {kind} | {count} |" in text
    assert all(f"`{row['class']}`" in text for row in rows)


def test_a_fault_is_not_counted_as_anything_else(table):
    trained = dict.fromkeys(table.ALGORITHMS, "trained")
    assert table.verdict({"algorithms": trained, "joint": "equal"}) == "equal"
    assert table.verdict({"algorithms": trained, "joint": "fault: logits differ"}) == "fault"
    assert table.verdict({"algorithms": {**trained, "vat": "fault: RuntimeError"}, "joint": "equal"}) == "fault"
    assert table.verdict({"algorithms": {**trained, "vat": "refused: no"}, "joint": "equal"}) == "equal"
    assert table.verdict({"algorithms": dict.fromkeys(table.ALGORITHMS, "refused: no")}) == "refused"
    assert table.verdict({"not_tried": "no package"}) == "not tried"
