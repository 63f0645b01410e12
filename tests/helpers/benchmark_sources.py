"""Small raw sources, faithful to the publishers' formats, with the content that must come out of them.

source = make_source("cifar100", folder)
source.task     the task, with sizes and label settings that fit the small source
source.folder   what `open_source` and `hf-ssl benchmark build --source` are given
source.rows     raw split -> rows in the source's own order, as `Expected`
"""

import csv
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.io
import soundfile
from PIL import Image

from hf_ssl.benchmark.tasks import TASKS, Task


@dataclass
class Expected:
    """What a row must give. `pixels` is what the image decodes to; `samples` what the sound does, int16 at 16 kHz.

    `exact`: whether `samples` must come out bit for bit; otherwise they are the ideal that resampling approximates.
    """

    label: int
    text: str | None = None
    augmented: tuple[str, str] | None = None
    pixels: np.ndarray | None = None
    file_bytes: bytes | None = None
    samples: np.ndarray | None = None
    exact: bool = True


def edit_file(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@dataclass
class SmallSource:
    task: Task
    folder: Path
    rows: dict[str, list[Expected]] = field(default_factory=dict)

    def add(self, split: str, **content) -> Expected:
        row = Expected(**content)
        self.rows.setdefault(split, []).append(row)
        return row


def make_source(name: str, folder: Path, *, per_class: int = 2, form: str | None = None) -> SmallSource:
    """Write a raw source of a task into `folder`.

    Args:
        per_class: rows of each class that become the published training split.
        form: another raw form than the task's usual one: "usb_json", "usb_audio_pickles".
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = SmallSource(TASKS[name], folder)
    rng = np.random.default_rng(sum(map(ord, name)))
    _MAKERS[form or name](source, per_class, rng)
    task, classes = source.task, len(source.task.class_names)
    sizes = {split: len(rows) for split, rows in source.rows.items()}
    changes = {}
    if not task.given_labels:
        changes["label_settings"] = (classes, classes * per_class) if per_class > 1 else (classes,)
    if task.train_share is not None:
        per_folder = sizes["train"] // classes
        train = int(task.train_share * per_folder)
        sizes = {"train": train * classes, "test": (per_folder - train) * classes}
    elif task.per_class is not None and form is None:
        sizes |= {"train": per_class * classes, "validation": classes}
        changes["per_class"] = (per_class, 1)
    # The long tails need thousands of examples.
    source.task = replace(task, sizes=sizes, long_tails=(), **changes)
    return source


def shuffled_labels(classes: int, per_class: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.repeat(np.arange(classes), per_class))


def encode_image(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def random_pixels(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape).astype(np.uint8)


# Images


def _cifar(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Protocol 2 with keys that are bytes, as Python 2 left them."""
    names = source.task.class_names
    hundred = len(names) == 100
    folder = source.folder / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    folder.mkdir()
    if hundred:
        files = {"train": [("train", per_class)], "test": [("test", 1)]}
        meta = {b"fine_label_names": [n.encode() for n in names], b"coarse_label_names": [b"fish"]}
    else:
        files = {"train": [(f"data_batch_{i}", per_class) for i in range(1, 6)], "test": [("test_batch", 1)]}
        meta = {b"num_cases_per_batch": 10000, b"label_names": [n.encode() for n in names], b"num_vis": 3072}
    _dump(folder / ("meta" if hundred else "batches.meta"), meta)
    for split, batches in files.items():
        for file, count in batches:
            labels = shuffled_labels(len(names), count, rng).tolist()
            pixels = random_pixels(rng, len(labels), 3, 32, 32)
            for label, image in zip(labels, pixels, strict=True):
                source.add(split, label=label, pixels=image.transpose(1, 2, 0))
            content = {b"batch_label": b"batch", b"data": pixels.reshape(len(labels), 3072)}
            content[b"filenames"] = [b"%d.png" % i for i in range(len(labels))]
            content |= (
                {b"fine_labels": labels, b"coarse_labels": [0] * len(labels)} if hundred else {b"labels": labels}
            )
            _dump(folder / file, content)


def _dump(path: Path, content) -> None:
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=2)


def _stl10(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Column-major channels; classes from 1; the first two unlabeled images are the first two of the test set."""
    folder = source.folder / "stl10_binary"
    folder.mkdir()
    (folder / "class_names.txt").write_text("\n".join(source.task.class_names))
    made = {}
    for split, count in (("train", per_class), ("test", 1), ("unlabeled", 2)):
        labels = shuffled_labels(10, count, rng)
        images = random_pixels(rng, len(labels), 96, 96, 3)
        if split == "unlabeled":
            images[:2] = made["test"][:2]
        made[split] = images
        images.transpose(0, 3, 2, 1).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            (labels + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
        for label, image in zip(labels.tolist(), images, strict=True):
            source.add(split, label=-1 if split == "unlabeled" else label, pixels=image)


def _image_file(source: SmallSource, split: str, path: Path, label: int, rng: np.random.Generator, side: int) -> None:
    data = encode_image(random_pixels(rng, side, side, 3), "JPEG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    source.add(split, label=label, file_bytes=data, pixels=np.asarray(Image.open(io.BytesIO(data))))


def _eurosat(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Five images per class for every four of training, numbered from 1 without zeros: 10 sorts before 2."""
    count = -(-per_class * 5 // 4)
    for label, name in enumerate(source.task.class_names):
        for number in sorted(range(1, count + 1), key=str):
            _image_file(source, "train", source.folder / "2750" / name / f"{name}_{number}.jpg", label, rng, 64)


def _tissuemnist(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    arrays = {}
    for prefix, split, count in (("train", "train", per_class), ("val", None, 1), ("test", "test", 1)):
        labels = shuffled_labels(8, count, rng)
        images = random_pixels(rng, len(labels), 28, 28)
        arrays |= {f"{prefix}_images": images, f"{prefix}_labels": labels.astype(np.uint8)[:, None]}
        for label, image in zip(labels.tolist(), images, strict=True):
            if split:
                source.add(split, label=label, pixels=image)
    np.savez_compressed(source.folder / "tissuemnist.npz", **arrays)


def _semi_aves(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    lists = source.folder / "semi_aves"
    lists.mkdir()
    for split, name, images, count in (
        ("train", "l_train_val", "trainval_images", per_class),
        ("unlabeled", "u_train_in", "u_train_in", 1),
        ("test", "test", "test", 1),
    ):
        lines = []
        for number, label in enumerate(shuffled_labels(200, count, rng).tolist()):
            path = f"{images}/{label}/{number}.jpg" if split == "train" else f"{images}/{number}.jpg"
            _image_file(source, split, source.folder / path, label, rng, 8)
            lines.append(f"{path} {label}\n")
        (lists / f"{name}.txt").write_text("".join(lines))


def _svhn(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """The image number is the last axis; the digit 0 is class 10."""
    for split, count in (("train", per_class), ("test", 1)):
        labels = shuffled_labels(10, count, rng)
        images = random_pixels(rng, len(labels), 32, 32, 3)
        content = {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]}
        scipy.io.savemat(source.folder / f"{split}_32x32.mat", content, do_compression=True)
        for label, image in zip(labels.tolist(), images, strict=True):
            source.add(split, label=label, pixels=image)


# Text. Fields hold what the formats escape: quotation marks, commas, line breaks, HTML.


def _imdb(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    root = source.folder / "aclImdb"
    for split, count in (("train", per_class + 1), ("test", 2)):
        for label, name in enumerate(("neg", "pos")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in sorted(range(count), key=lambda number: f"{number}_"):
                text = f'Ça {name} {split} {number}.<br /><br />It\'s "so-so".'
                (folder / f"{number}_{3 + 5 * label}.txt").write_bytes(text.encode())
                source.add(split, label=label, text=text)
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("never read")
    (root / "README").write_text("Large Movie Review Dataset v1.0")


def _csv_maker(folder: str, fields: Callable[[int], tuple[list[str], str]]):
    """`fields(number)`: the columns after the class, as in the file but for doubled quotes, and the resulting text."""

    def make(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
        (source.folder / folder).mkdir()
        for split, count in (("train", per_class + 1), ("test", 1)):
            with open(source.folder / folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
                for number, label in enumerate(shuffled_labels(len(source.task.class_names), count, rng).tolist()):
                    columns, text = fields(number + (split == "test") * 1000)
                    writer.writerow([label + 1, *columns])
                    source.add(split, label=label, text=text)

    return make


def _ag_news_fields(number: int) -> tuple[list[str], str]:
    title, text = f'Oil "up", {number} (Reuters)', "Reuters - Wall Street's dwindling\\band of \\$5 #39;s"
    return [title, text], f"{title} {text}"


def _amazon_fields(number: int) -> tuple[list[str], str]:
    return [f'"Great" {number}', "Très bon,\\nbut late"], f'"Great" {number} Très bon,\nbut late'


def _yelp_fields(number: int) -> tuple[list[str], str]:
    return [f'I said \\"no\\", {number} times.\\n\\nTwice.'], f'I said "no", {number} times.\n\nTwice.'


def _yahoo_fields(number: int) -> tuple[list[str], str]:
    return [f"why {number}?", "", 'Say "because".\\nOr not.'], f'why {number}? Say "because".\nOr not.'


def _usb_json(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Labels are text in some of USB's files; characters beyond ASCII are escaped."""
    for split, name, count in (("train", "train", per_class), ("validation", "dev", 1), ("test", "test", 1)):
        rows = {}
        for number, label in enumerate(shuffled_labels(len(source.task.class_names), count, rng).tolist()):
            row = {"ori": f'{split} {number}: "é" \\ }}, {{', "label": str(label) if number % 2 else label}
            augmented = (f"Ü {number}", f"Я {number}") if split == "train" else None
            if augmented:
                row |= {"aug_0": augmented[0], "aug_1": augmented[1]}
            rows[str(number)] = row
            source.add(split, label=label, text=row["ori"], augmented=augmented)
        folder = source.folder / source.task.name
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(rows))


# Sound. A clip is a tone, so that it is known at 16 kHz for any rate of its file.


def tone(seconds: float, rate: int, frequency: float) -> np.ndarray:
    """float64 [n]: swells and fades, so that filters have no edges to ring at."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * frequency * time) * np.sin(np.pi * time / seconds) ** 2


def _sound(
    source: SmallSource,
    split: str,
    path: Path,
    label: int,
    seconds: float = 0.1,
    rate: int = 16_000,
    channels: int = 1,
    subtype: str = "PCM_16",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frequency = 200 + 20 * label + 5 * (len(source.rows.get(split, ())) % 7)
    wave = tone(seconds, rate, frequency)
    if (rate, channels, subtype) == (16_000, 1, "PCM_16"):
        samples = np.rint(wave * 2**15).astype(np.int16)
        soundfile.write(path, samples, rate, subtype=subtype)
        source.add(split, label=label, samples=samples)
        return
    # The second channel is silent: mono is half as loud.
    stereo = np.stack([wave, *[np.zeros_like(wave)] * (channels - 1)], axis=1)
    soundfile.write(path, stereo, rate, subtype=subtype)
    ideal = np.rint(tone(seconds, 16_000, frequency) / channels * 2**15).astype(np.int16)
    source.add(split, label=label, samples=ideal, exact=False)


def _urbansound8k(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Clips of many formats, as Freesound had them; the table is sorted by file name, not by fold."""
    formats = [
        (16_000, 1, "PCM_16"),
        (44_100, 2, "PCM_16"),
        (48_000, 2, "PCM_24"),
        (96_000, 1, "FLOAT"),
        (22_050, 1, "PCM_U8"),
    ]
    folds = [*[1, 8, 3, 5, 2, 4, 6, 7][:per_class], 9, 10]
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for number, (label, fold) in enumerate((label, fold) for fold in folds for label in range(10)):
        split = {9: "validation", 10: "test"}.get(fold, "train")
        rate, channels, subtype = formats[number % len(formats)]
        name = f"{100000 + number}-{label}-0-0.wav"
        path = source.folder / "UrbanSound8K" / "audio" / f"fold{fold}" / name
        _sound(source, split, path, label, 0.1, rate, channels, subtype)
        lines.append(f"{name},{100000 + number},0.0,0.317551,1,{fold},{label},{source.task.class_names[label]}")
    table = source.folder / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv"
    table.parent.mkdir()
    table.write_text("\n".join(lines) + "\n")


def _esc50(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    root = source.folder / "ESC-50-master"
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in (1, 2, 3, 4, 5) if per_class > 2 else (1, 3, 4, 5) if per_class > 1 else (2, 4, 5):
        for label, category in enumerate(source.task.class_names):
            split = {4: "validation", 5: "test"}.get(fold, "train")
            name = f"{fold}-{1000 + label}-A-{label}.wav"
            _sound(source, split, root / "audio" / name, label, 0.05, 44_100)
            lines.append(f"{name},{fold},{label},{category},{label == 0},{1000 + label},A")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")


def _gtzan(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Tracks of 30.01 s at 22,050 Hz, one each for train, validation and test: ten rows each. Only three genres."""
    source.task = replace(source.task, class_names=source.task.class_names[:3])
    for label, genre in enumerate(source.task.class_names):
        seconds = 661_794 / 22_050
        wave = tone(seconds, 22_050, 200 + 20 * label)
        ideal = np.rint(tone(seconds, 16_000, 200 + 20 * label) * 2**15).astype(np.int16)
        for number, split in ((0, "train"), (70, "validation"), (99, "test")):
            path = source.folder / "genres" / genre / f"{genre}.{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wave, 22_050, subtype="PCM_16")
            for piece in range(10):
                samples = ideal[piece * 48_000 : (piece + 1) * 48_000]
                source.add(split, label=label, samples=samples, exact=False)


def _fsdnoisy(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    folders = [source.folder / f"FSDnoisy18k.{name}" for name in ("audio_train", "audio_test", "meta")]
    lines = {"train": ["fname,label,aso_id,manually_verified,noisy_small"], "test": ["fname,label,aso_id"]}
    number = 0
    for split, count in (("unlabeled", 2), ("train", per_class), ("test", 1)):
        for label in shuffled_labels(20, count, rng).tolist():
            number += 1
            folder = folders[1] if split == "test" else folders[0]
            _sound(source, split, folder / f"{number}.wav", label, 0.1, 16_000 if number % 2 else 44_100)
            rest = "" if split == "test" else f",{int(split == 'train')},0"
            name = source.task.class_names[label]
            lines["test" if split == "test" else "train"].append(f"{number}.wav,{name},/m/0{number}{rest}")
    folders[2].mkdir()
    for file, content in lines.items():
        (folders[2] / f"{file}.csv").write_text("\n".join(content) + "\n")


def _superbks(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    """Words that are no class, and the recordings of noise, are in the collection too."""
    root = source.folder / "speech_commands_v0.01"
    lists = {"validation": [], "test": []}
    for label, word in enumerate((*source.task.class_names, "bed")):
        for number in range(per_class + 2):
            split = "validation" if number == 1 else "test" if number == 0 else "train"
            name = f"{word}/{number:08x}_nohash_0.wav"
            if word == "bed":
                (root / "bed").mkdir(exist_ok=True)
                (root / name).write_bytes(b"never read")
            else:
                _sound(source, split, root / name, label, 0.2)
            if split in lists:
                lists[split].append(name)
    (root / "_background_noise_").mkdir()
    (root / "validation_list.txt").write_text("\n".join(lists["validation"]) + "\n")
    (root / "testing_list.txt").write_text("\n".join(lists["test"]) + "\n")


def _usb_audio_pickles(source: SmallSource, per_class: int, rng: np.random.Generator) -> None:
    files = {"train": ("train", per_class), "validation": ("dev", 1), "test": ("test", 1)}
    if "unlabeled" in source.task.sizes:
        files = {**files, "unlabeled": ("ulb_train", 2)}
    folder = source.folder / source.task.name
    folder.mkdir()
    for split, (name, count) in files.items():
        rows = {}
        for number, label in enumerate(shuffled_labels(len(source.task.class_names), count, rng).tolist()):
            samples = np.rint(tone(0.1, 16_000, 200 + 10 * label + number % 5) * 2**15).astype(np.int16)
            buffer = io.BytesIO()
            np.save(buffer, (samples / 2**15).astype(np.float32))
            rows[number] = {"wav": buffer.getvalue(), "label": label}
            if split in source.task.sizes:
                source.add(split, label=label, samples=samples)
        with open(folder / f"{name}.pkl", "wb") as file:
            pickle.dump(rows, file, protocol=4)


_MAKERS = {
    "cifar100": _cifar,
    "cifar10": _cifar,
    "stl10": _stl10,
    "eurosat": _eurosat,
    "tissuemnist": _tissuemnist,
    "semi_aves": _semi_aves,
    "svhn": _svhn,
    "aclImdb": _imdb,
    "ag_news": _csv_maker("ag_news_csv", _ag_news_fields),
    "amazon_review": _csv_maker("amazon_review_full_csv", _amazon_fields),
    "yelp_review": _csv_maker("yelp_review_full_csv", _yelp_fields),
    "yahoo_answers": _csv_maker("yahoo_answers_csv", _yahoo_fields),
    "usb_json": _usb_json,
    "gtzan": _gtzan,
    "urbansound8k": _urbansound8k,
    "fsdnoisy": _fsdnoisy,
    "superbks": _superbks,
    "esc50": _esc50,
    "usb_audio_pickles": _usb_audio_pickles,
}
