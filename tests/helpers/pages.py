"""The pages of the documentation: their code blocks and links, and small stand-ins for what the blocks name."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_ssl.benchmark import build_task

from tests.helpers.benchmark_sources import make_source
from tests.helpers.command_data import save_model, texts, write_csv, write_image, write_sound

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (
        ROOT / "README.md",
        ROOT / ".github" / "CONTRIBUTING.md",
        EXAMPLES / "README.md",
        EXAMPLES / "benchmarks" / "README.md",
        *sorted((EXAMPLES / "guides").glob("*.md")),
    )
}
# Pretrained models of the pages, and the modality of the tiny model that takes their place.
MODELS = {
    "google/vit-base-patch16-224-in21k": "image",
    "distilbert-base-uncased": "text",
    "facebook/wav2vec2-base": "audio",
}
# Settings of the pages, made small.
SMALLER = [
    (r"\bmax_steps=[\d_]+", "max_steps=2"),
    (r"\boutput_dir=", "logging_steps=1, output_dir="),
    (r"\bper_device_train_batch_size=\d+", "per_device_train_batch_size=2"),
    (r"\bsave_steps=\d+", "save_steps=1"),
    (r"\bmax_length=\d+", "max_length=16"),
    (r"\bmax_length_seconds=[\d.]+", "max_length_seconds=0.2"),
]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language with what follows it, the line that it starts in, and its text."""

    language: str
    line: int
    source: str


def blocks(page: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language or all."""
    text = PAGES[page].read_text(encoding="utf-8")
    found = [
        Block(match[1].strip(), text[: match.start()].count("\n") + 2, match[2])
        for match in re.finditer(r"^```([^\n]*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    ]
    return [block for block in found if language is None or block.language == language]


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in the `sh` blocks of a page; `a && b` are two."""
    for block in blocks(page, "sh"):
        for line in block.source.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                position = words.index("&&")
                yield words[:position]
                words = words[position + 1 :]
            if words:
                yield words


def smaller(source: str, models: dict[str, str]) -> str:
    """A block with tiny models for pretrained ones and two steps for thousands."""
    for name, folder in models.items():
        source = source.replace(f'"{name}"', repr(folder))
    for pattern, replacement in SMALLER:
        source = re.sub(pattern, replacement, source)
    return source


def make_files(folder: Path) -> dict[str, str]:
    """What the pages name as a person's own files, in `folder`, and a tiny model for each of `MODELS`."""
    for name, color in (("cat", "red"), ("dog", "green"), ("bird", "blue")):
        for i in range(3):
            write_image(folder / "photos" / "labeled" / name / f"{i}.png", color, i)
            write_image(folder / "photos" / "test" / name / f"{i}.png", color, 50 + i)
            for j in range(2):
                write_image(folder / "photos" / "all" / "2024" / f"trip {j}" / f"{name} {i}.jpg", color, 100 + i)
    for name in ("high", "low"):
        for i in range(3):
            write_sound(folder / "sounds" / "labeled" / name / f"{i}.wav", name, seed=i)
            write_sound(folder / "sounds" / "test" / name / f"{i}.wav", name, seed=50 + i)
            write_sound(folder / "sounds" / "all" / f"{name} {i}.wav", name, seed=100 + i)
    write_csv(folder / "labeled.csv", texts(6, 0))
    write_csv(folder / "test.csv", texts(6, 1))
    (folder / "lines.txt").write_text("\n".join(text for text, _ in texts(24, 2)), encoding="utf-8")
    return {name: save_model(modality, folder / "models" / modality) for name, modality in MODELS.items()}


def make_cifar100(folder: Path):
    """A small `cifar-100-python.tar.gz`, the folder `usb-cifar100` that is built from it, and its row of the table."""
    source = make_source("cifar100", folder / "raw")
    build_task(source.task, source.folder, folder / "usb-cifar100")
    return source
