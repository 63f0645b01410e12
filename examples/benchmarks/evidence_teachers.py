"""Teachers for the comparison of routes: data of `evidence/` with a column of what a larger model says of the pool.

    # Texts, with hf-ssl teach, and then the folders.
    python examples/benchmarks/evidence_teachers.py ask --writer HuggingFaceTB/SmolLM2-135M-Instruct
    python examples/benchmarks/evidence_teachers.py write
    hf-ssl benchmark run examples/benchmarks/evidence_teachers.yaml \\
        --output-dir examples/benchmarks/results/evidence_teachers

`evidence/` is what `evidence_folders.py` writes. The teachers are

- texts: a language model that has seen none of the labels, asked by `hf-ssl teach`. `PROMPTS` and `WORDS` were
  compared on the 40 labels of seed 10 (`ask` does it, and keeps the best); the runs have those of seeds 0 to 2;
- photographs and recordings: an outside classifier, a `FeatureClassifier` of the students' own features that has seen
  250 labels, none of them among those of the students. No CLIP or CLAP was at hand.

`write` adds to `results/evidence_teachers.json` how many test examples each teacher is right about.
"""

import argparse
import contextlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from evidence_audio import SpeechEmbeddingClassifier
from evidence_results import add
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModelForImageClassification

from hf_ssl import SSLConfig
from hf_ssl.benchmark.splits import draw_labels
from hf_ssl.cli import main as command
from hf_ssl.features import FeatureBank, FeatureClassifier

RESULTS = Path(__file__).parent / "results" / "evidence_teachers.json"
TEXTS, COLUMN = "ag_news", "teacher"
PROMPTS = (
    "Text: {}\nClass:",
    "{}\nThis article is about",
    "<|im_start|>user\nWhat is the topic of this news article?\n\n{}<|im_end|>\n"
    "<|im_start|>assistant\nThe topic of this news article is",
)
# How the classes are called, in the order of the labels.
WORDS = ("World,Sports,Business,Sci/Tech", "politics,sports,business,technology")
SEEDS, CHOSEN_ON, TEXT_LABELS = (0, 1, 2), 10, 40
# Folder of the data -> its model, settings of reading, and labels of a student in all.
OUTSIDE: dict[str, tuple[str, dict[str, Any], int]] = {
    "cifar10": ("mobilenetv1-025", {"image_size": 96}, 40),
    "speech_commands": ("speech-embedding", {"max_length_seconds": 1.0}, 50),
}
OUTSIDE_LABELS, TEST_EXAMPLES = 250, 2_000


def ask(places: Path, writer: str, device: str | None) -> None:
    """Let a language model answer for pool and test set of the texts, with what is best on the labels of seed 10."""
    taught = places / "taught"
    taught.mkdir(parents=True, exist_ok=True)
    data = _load(places / TEXTS)
    chosen = data["train"].select(_drawn(data["train"], TEXT_LABELS, CHOSEN_ON))
    with tempfile.TemporaryDirectory() as folder:
        labeled = Path(folder) / "labeled.parquet"
        # Numbers, so that the words for the classes can be chosen.
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Value("int64")})
        chosen.cast(features).to_parquet(labeled)
        asked = [(prompt, words) for prompt in PROMPTS for words in WORDS]
        first = Path(folder) / "one.txt"
        first.write_text(chosen["text"][0], encoding="utf-8")
        right = [_teach(first, Path(folder) / "one.jsonl", writer, *each, device, labeled) for each in asked]
        best = int(np.argmax(right))
        for (prompt, words), count in zip(asked, right, strict=True):
            print(f"{count} of {TEXT_LABELS} labels of seed {CHOSEN_ON}: {words}; {prompt!r}")
        for name, rows in data.items():
            lines = Path(folder) / f"{name}.jsonl"
            rows.select_columns(["text"]).to_json(lines)
            _teach(lines, taught / f"{name}.jsonl", writer, *asked[best], device)
    choice = {"prompt": asked[best][0], "words": asked[best][1], "compared": right, "writer": Path(writer).name}
    (taught / "choice.json").write_text(json.dumps(choice), encoding="utf-8")


def _teach(
    pool: Path, output: Path, writer: str, prompt: str, words: str, device: str | None, labeled: Path | None = None
) -> int:
    """Ask with the command; how many of the labeled examples the model is right about."""
    arguments = ["teach", str(pool), "--model", writer, "--template", prompt, "--classes", words, "--overwrite"]
    arguments += ["--output", str(output)]
    arguments += [] if device is None else ["--device", device]
    arguments += [] if labeled is None else ["--labeled", str(labeled)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said, contextlib.redirect_stdout(said):
        status = command(arguments)
        said.seek(0)
        text = said.read()
    if status:
        raise RuntimeError(f"the command ended with status {status}")
    found = re.search(r"right about (\d+) of", text)
    return int(found.group(1)) if found else 0


def write(places: Path, results: Path) -> None:
    """Write a folder with the teacher's column for each set of data, and how good the teacher is."""
    choice = json.loads((places / "taught" / "choice.json").read_text(encoding="utf-8"))
    words = choice["words"].split(",")
    opinions = {}
    for split in ("train", "test"):
        answers = datasets.load_dataset("json", data_files=str(places / "taught" / f"{split}.jsonl"))["train"][COLUMN]
        opinions[split] = np.array([[answer[word] for word in words] for answer in answers])
    data = _load(places / TEXTS)
    _write(places / f"{TEXTS}_taught", data, opinions["train"])
    tested = _test_rows(data["test"])
    row = {"task": TEXTS, "teacher": choice["writer"], "prompt": choice["prompt"], "words": choice["words"]}
    add(results, {**row, **_rightness(opinions["test"][tested], data["test"], tested)}, ("task",))
    for name in OUTSIDE:
        data = _load(places / name)
        pool, test, tested = outside_classifier(places, name, data)
        _write(places / f"{name}_taught", data, pool)
        row = {"task": name, "teacher": f"classifier of frozen features, {OUTSIDE_LABELS} labels of its own"}
        add(results, {**row, **_rightness(test, data["test"], tested)}, ("task",))


def outside_classifier(
    places: Path, name: str, data: datasets.DatasetDict
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its probabilities of the pool [N, C] and of the tested examples [M, C], and which of the test set these are."""
    folder, reading, count = OUTSIDE[name]
    pool = data["train"]
    students = np.unique(np.concatenate([_drawn(pool, count, seed) for seed in SEEDS]))
    others = np.setdiff1d(np.arange(len(pool)), students)
    own = others[_drawn(pool.select(others), OUTSIDE_LABELS, seed=1_000)]
    known = np.full(len(pool), -1)
    known[own] = np.asarray(pool["label"])[own]
    tested = _test_rows(data["test"])
    features = [_features(places / folder, rows, reading) for rows in (pool, data["test"].select(tested))]
    classifier = FeatureClassifier().fit(features[0], known)
    of_pool, of_test = (classifier.predict_proba(each) for each in features)
    return of_pool, of_test, tested


def _features(folder: Path, rows: datasets.Dataset, reading: dict[str, Any]) -> np.ndarray:
    is_image = "image" in rows.column_names
    loads = AutoModelForImageClassification if is_image else SpeechEmbeddingClassifier
    processor = (AutoImageProcessor if is_image else AutoFeatureExtractor).from_pretrained(folder)
    args = SSLConfig("unused", report_to="none", dataloader_num_workers=0, disable_tqdm=True, **reading)
    with tempfile.TemporaryDirectory() as cache:
        bank = FeatureBank.encode(loads.from_pretrained(folder), rows, processor, args=args, cache_dir=cache)
        return np.array(bank.features)


def _load(folder: Path) -> datasets.DatasetDict:
    data = datasets.load_dataset(str(folder))
    return data.cast_column("audio", datasets.Audio(decode=False)) if "audio" in data["train"].column_names else data


def _drawn(rows: datasets.Dataset, count: int, seed: int) -> np.ndarray:
    """Rows that are labeled, as a grid draws them."""
    return draw_labels(rows["label"], num_classes=_classes(rows), num_labeled=count, seed=seed)[0]


def _test_rows(test: datasets.Dataset) -> np.ndarray:
    """Those that a grid tests on."""
    return np.sort(_drawn(test, TEST_EXAMPLES, seed=0)) if len(test) > TEST_EXAMPLES else np.arange(len(test))


def _classes(rows: datasets.Dataset) -> int:
    return rows.features["label"].num_classes


def _rightness(probabilities: np.ndarray, test: datasets.Dataset, tested: np.ndarray) -> dict[str, Any]:
    right = probabilities.argmax(axis=1) == np.asarray(test["label"])[tested]
    return {"test_accuracy": round(float(right.mean()), 5), "test_examples": len(tested), "seeds": SEEDS}


def _write(folder: Path, data: datasets.DatasetDict, opinions: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Four digits say enough, and are the same wherever they were computed.
    taught = data["train"].add_column(COLUMN, opinions.astype(float).round(4).tolist())
    taught.to_parquet(folder / "train.parquet")
    data["test"].to_parquet(folder / "test.parquet")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ask", "write"])
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), help="folder of `evidence_folders.py`")
    parser.add_argument("--writer", help="Hub id or folder of a language model, for `ask`")
    parser.add_argument("--device", help="of the language model (default: the fastest)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    datasets.disable_progress_bars()
    if args.what == "ask":
        if args.writer is None:
            parser.error("--writer must be named for ask; give a Hub id or folder")
        ask(args.evidence, args.writer, args.device)
    else:
        write(args.evidence, args.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
