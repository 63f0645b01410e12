"""Valid small files of every kind that `hf-ssl` reads; `fuzz.py` damages them."""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import scipy.io
import yaml
from PIL import Image
from tiny_inputs import NAMES, image_bytes, sound_bytes, texts, write_csv, write_models


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Args:
        kind: "image", "recording", "table", "recipe", "model" or "raw data".
        file: its name; of a model or of raw data its path in `folder`.
        data: its bytes.
        modality: "image", "audio" or "text": the model that it goes with; of raw data the name of the task.
        folder: with the other files of the model or of the raw data.
    """

    kind: str
    file: str
    data: bytes
    modality: str
    folder: Path | None = None


def make_seeds(folder: Path, models: dict[str, str]) -> list[Seed]:
    """All of them; those that are folders are written into `folder`.

    Args:
        models: modality -> folder of a model.
    """
    seeds = [Seed("image", f"x.{suffix}", data, "image") for suffix, data in _images().items()]
    seeds += [Seed("recording", f"x.{suffix}", data, "audio") for suffix, data in _sounds().items()]
    seeds += [Seed("table", f"x.{suffix}", data, "text") for suffix, data in _tables(folder).items()]
    seeds.append(Seed("table", "pictures.parquet", _pictures(folder), "image"))
    seeds += [Seed("recipe", f"x.{suffix}", data, "text") for suffix, data in _recipes().items()]
    for modality, place in models.items():
        for path in sorted(Path(place).iterdir()):
            seeds.append(Seed("model", path.name, path.read_bytes(), modality, Path(place)))
    old = write_models(folder / "old", ("text",))["text"]
    pickled = _pickled_weights(Path(old))
    seeds.append(Seed("model", "pytorch_model.bin", pickled, "text", Path(old)))
    for task, (make, files) in _RAW.items():
        place = folder / "raw" / task
        place.mkdir(parents=True)
        make(place)
        seeds += [Seed("raw data", file, (place / file).read_bytes(), task, place) for file in files]
    return seeds


# ---- Images, recordings, tables, recipes ----


def _images() -> dict[str, bytes]:
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x011A: (72, 1), 0x8769: {0x9003: "2020:01:01 00:00:00"}})
    found = {"png": image_bytes("PNG", 0), "webp": image_bytes("WEBP", 2), "bmp": image_bytes("BMP", 0)}
    found |= {
        "jpg": image_bytes("JPEG", 1, exif=exif.tobytes()),
        "tiff": image_bytes("TIFF", 2, compression="tiff_lzw"),
    }
    frames = [Image.new("P", (14, 16), color) for color in (1, 2, 3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return found | {"gif": buffer.getvalue()}


def _sounds() -> dict[str, bytes]:
    return {kind.lower(): sound_bytes(kind, place, rate=8_000 * (place + 1)) for place, kind in enumerate(_SOUNDS)}


_SOUNDS = ("WAV", "FLAC", "OGG", "MP3")


def _tables(folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text, "label": name} for text, name in texts(12, 5)]
    write_csv(folder / "x.csv", texts(12, 5))
    datasets.Dataset.from_list(rows).to_parquet(folder / "x.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return {
        "csv": (folder / "x.csv").read_bytes(),
        "tsv": (folder / "x.csv").read_bytes().replace(b",", b"\t"),
        "json": json.dumps(rows).encode(),
        "jsonl": lines.encode(),
        "parquet": (folder / "x.parquet").read_bytes(),
        "txt": "".join(row["text"] + "\n" for row in rows).encode(),
    }


def _pictures(folder: Path) -> bytes:
    rows = {"image": [{"bytes": image_bytes("PNG", seed), "path": None} for seed in range(6)]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    made = datasets.Dataset.from_dict(rows | {"label": [0, 1, 2] * 2}, features=features)
    made.to_parquet(folder / "pictures.parquet")
    return (folder / "pictures.parquet").read_bytes()


def _recipes() -> dict[str, bytes]:
    recipe = {"algorithm": "fixmatch", "max_steps": 1, "learning_rate": 0.001, "seed": 3, "warmup_steps": 0}
    recipe |= {"algorithm_kwargs": {"threshold": 0.5, "temperature": 1.0}, "label_column": "label"}
    return {"yaml": yaml.safe_dump(recipe).encode(), "json": json.dumps(recipe).encode()}


def _pickled_weights(folder: Path) -> bytes:
    """The weights of a model as older versions of transformers wrote them, in place of the newer file."""
    import torch
    from safetensors.torch import load_file

    buffer = io.BytesIO()
    torch.save(load_file(folder / "model.safetensors"), buffer)
    (folder / "model.safetensors").unlink()
    return buffer.getvalue()


# ---- Raw data of the benchmark: a few examples of each class, in the publishers' forms ----


def _cifar10(place: Path) -> None:
    folder = place / "cifar-10-batches-py"
    folder.mkdir()
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in names]}, 2))
    for number, file in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = np.random.default_rng(number).integers(0, 256, (10, 3072)).astype(np.uint8)
        content = {
            b"batch_label": b"batch",
            b"labels": list(range(10)),
            b"data": pixels,
            b"filenames": [b"x.png"] * 10,
        }
        (folder / file).write_bytes(pickle.dumps(content, 2))


def _tissuemnist(place: Path) -> None:
    arrays = {}
    for split, count in (("train", 80), ("val", 8), ("test", 8)):
        arrays[f"{split}_images"] = np.random.default_rng(count).integers(0, 256, (count, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 8).astype(np.uint8)[:, None]
    np.savez_compressed(place / "tissuemnist.npz", **arrays)


def _svhn(place: Path) -> None:
    for split, count in (("train", 40), ("test", 10)):
        pixels = np.random.default_rng(count).integers(0, 256, (32, 32, 3, count)).astype(np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(place / f"{split}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)


def _eurosat(place: Path) -> None:
    classes = (
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    )
    with zipfile.ZipFile(place / "EuroSAT.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for seed, name in enumerate(classes.split()):
            for number in range(1, 6):
                file.writestr(f"2750/{name}/{name}_{number}.jpg", image_bytes("JPEG", seed, 64))


def _yelp(place: Path) -> None:
    with tarfile.open(place / "yelp_review.tar.gz", "w:gz") as file:
        for split, count in (("train", 250), ("dev", 25), ("test", 25)):
            rows = {str(row): {"ori": f"{split} {row}", "label": row % 5} for row in range(count)}
            if split == "train":
                rows = {key: row | {"aug_0": "a", "aug_1": "b"} for key, row in rows.items()}
            content = json.dumps(rows).encode()
            member = tarfile.TarInfo(f"yelp_review/{split}.json")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def _yelp_json(place: Path) -> None:
    _yelp(place)
    with tarfile.open(place / "yelp_review.tar.gz") as file:
        file.extractall(place, filter="data")
    (place / "yelp_review.tar.gz").unlink()


def _ag_news(place: Path) -> None:
    for split, count in (("train", 80), ("test", 8)):
        rows = [(f"{row % 4 + 1}", f"title {row}", f"a text, {row}") for row in range(count)]
        (place / f"{split}.csv").write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in rows))


def _urbansound8k(place: Path) -> None:
    names = "air_conditioner car_horn children_playing dog_bark drilling engine_idling gun_shot jackhammer siren "
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        folder = place / "UrbanSound8K" / "audio" / f"fold{fold}"
        folder.mkdir(parents=True)
        for label, name in enumerate((names + "street_music").split()):
            for take in range(1 if fold > 2 else 2):
                file = f"{100 * fold + label}-{label}-0-{take}.wav"
                (folder / file).write_bytes(sound_bytes("WAV", label, seconds=0.02))
                lines.append(f"{file},{100 * fold + label},0.0,0.3,1,{fold},{label},{name}")
    (place / "UrbanSound8K" / "metadata").mkdir()
    (place / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")


# Task -> how its raw data are written, and which of the files are damaged.
_RAW: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "cifar10": (_cifar10, ("cifar-10-batches-py/data_batch_2",)),
    "tissuemnist": (_tissuemnist, ("tissuemnist.npz",)),
    "svhn": (_svhn, ("train_32x32.mat",)),
    "eurosat": (_eurosat, ("EuroSAT.zip",)),
    "yelp_review": (_yelp, ("yelp_review.tar.gz",)),
    "amazon_review": (_yelp_json, ("yelp_review/train.json",)),
    "ag_news": (_ag_news, ("train.csv",)),
    "urbansound8k": (
        _urbansound8k,
        ("UrbanSound8K/audio/fold3/304-4-0-0.wav", "UrbanSound8K/metadata/UrbanSound8K.csv"),
    ),
}
