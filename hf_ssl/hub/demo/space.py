"""The files of a demo Space, and pushing them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from huggingface_hub import SpaceCardData, constants, get_token

from ...files import atomic_files, files_below, is_local
from ...modality import MODALITIES
from ...report.markdown import code, plain
from ..provenance import license_of
from ..spaces import PushedSpace, push_space
from ..upload import CARD, public_content
from .index import Part, write_index

# The version that the template was last tried with. The Hub installs what the card says.
GRADIO = "6.31.0"
APP = "app.py"
TEMPLATE = Path(__file__).with_name("app.py.jinja")
# By this sentence a Space of ours is known again, and no other page is ever replaced.
_MARK = "This Space was written by `hf-ssl demo`"
# What the Hub's Python image lacks, by what the app does.
_PACKAGES = ("torch>=2.11", "transformers>=5.17,<6", "safetensors>=0.5", "numpy>=1.26")
_WIDTHS = {"image": "140px", "text": "200px", "audio": "200px"}
_SUFFIXES = {"image": ".jpg", "text": ".txt", "audio": ".mp3"}
_MOST_CLASSES = 12


@dataclass(frozen=True)
class Demo:
    """What a demo Space shows.

    Args:
        model: Hub id, or the path of a folder from the Space's folder.
        modality: "image", "text" or "audio".
        names: of the model's classes.
        head: path of the module that makes the logits, in the model.
        sigmoid: whether several classes may be true of an example.
        parts: what is known, by "labeled" and "pool".
        tries: texts, or bytes of JPEG or MP3 files, to try the model with.
        packages: requirements beside the usual ones.
    """

    model: str
    modality: str
    names: Sequence[str]
    head: str
    sigmoid: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)
    tries: Sequence[str | bytes] = ()
    packages: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The model's name without its account."""
        return Path(self.model).name

    @property
    def with_examples(self) -> bool:
        """Whether examples of the data are shown."""
        return any(part.examples is not None for part in self.parts.values())


def write_demo(folder: Path, demo: Demo) -> None:
    """Write app.py, requirements.txt, README.md and what the app reads; all of them or none.

    What an earlier Space in this folder showed and this one does not is deleted: it would be pushed, too.

    Raises:
        OSError: in one line, if the disk is full or cannot be written to.
    """
    with atomic_files(folder) as new:
        if demo.parts:
            write_index(new, demo.parts)
        (new / APP).write_text(render_app(demo), encoding="utf-8")
        (new / "requirements.txt").write_text("\n".join(_requirements(demo)) + "\n", encoding="utf-8")
        (new / CARD).write_text(_card(demo), encoding="utf-8")
        for number, example in enumerate(demo.tries, 1):
            path = new / "examples" / f"{number}{_SUFFIXES[demo.modality]}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(example.encode() if isinstance(example, str) else example)
        written = {path.relative_to(new) for path in files_below(new)}
    for path in files_below(folder):
        name = path.relative_to(folder)
        if name not in written and _is_ours(name.as_posix()):
            path.unlink()


def render_app(demo: Demo) -> str:
    """The code of app.py.

    Example:
        >>> code = render_app(Demo("someone/pets", "image", ["cat", "dog"], "classifier"))
        >>> [line for line in code.splitlines() if line.startswith(("MODEL", "classifier"))]
        ['MODEL = "someone/pets"', 'classifier = pipeline("image-classification", MODEL)']
    """
    # Names are written as literals of Python, and never as code.
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["literal"] = _literal
    kind = MODALITIES[demo.modality]
    rendered = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=demo.title,
        model=demo.model,
        modality=demo.modality,
        plural=kind.plural,
        task=kind.pipeline,
        head=demo.head,
        sigmoid=demo.sigmoid,
        known=bool(demo.parts),
        parts=list(demo.parts),
        with_examples=demo.with_examples,
        card_width=_WIDTHS[demo.modality],
        introduction=_introduction(demo),
    )
    # Where parts were left out, their empty lines are left.
    return re.sub(r"\n{4,}", "\n\n\n", rendered)


def push_demo(folder: Path, repo_id: str, *, private: bool = False) -> PushedSpace:
    """Push the files that `write_demo` wrote as a Gradio Space.

    Args:
        folder: of the Space.
        repo_id: ACCOUNT/NAME of the Space, which is created if it does not exist.
        private: create a private Space.

    Raises:
        ValueError: if a file holds a token or key, or the Space holds something else, or is public and should not be.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    files = {name: public_content(path, name, repo_id, get_token()) for name, path in paths.items() if _is_ours(name)}
    card = files.pop(CARD)
    assert isinstance(card, bytes), "cards are read"
    return push_space(
        repo_id,
        files,
        card,
        sdk="gradio",
        mark=_MARK,
        what="a demo",
        message="Demo",
        private=private,
        is_stale=_is_ours,
    )


def _is_ours(name: str) -> bool:
    """Whether a file of a Space is one that `write_demo` writes, or could have written."""
    return name in (APP, "requirements.txt", CARD, "index.safetensors", "labeled.parquet", "pool.parquet") or bool(
        re.fullmatch(r"examples/\d+\.(jpg|txt|mp3)", name)
    )


def _literal(value: object) -> str:
    """A text or list of texts as Python code, with double quotes.

    Example:
        >>> print(_literal('a"b'), _literal(["labeled", "pool"]))
        "a\\"b" ["labeled", "pool"]
    """
    return json.dumps(value, ensure_ascii=False)


def _requirements(demo: Demo) -> list[str]:
    packages = [*_PACKAGES, *demo.packages]
    if demo.modality == "audio":
        packages += ["torchaudio>=2.11", "soundfile>=0.13"]
    if demo.with_examples:
        packages.append("pyarrow>=21.0")
    return packages


def _introduction(demo: Demo) -> str:
    """Markdown: what the page is about."""
    shown = ", ".join(plain(name) for name in demo.names[:_MOST_CLASSES])
    more = len(demo.names) - _MOST_CLASSES
    classes = f"{shown} and {more} more" if more > 0 else shown
    about = {
        "image": "Upload an image, or take one with the camera.",
        "text": "Write a text.",
        "audio": "Upload a recording, or make one with the microphone.",
    }[demo.modality]
    return f"# {plain(demo.title)}\n\n{about} The model distinguishes {len(demo.names)} classes: {classes}."


def _card(demo: Demo) -> str:
    """README.md of the Space: what the Hub needs to know of it, what it holds, how to run it."""
    on_hub = not is_local(demo.model)
    licensed = license_of(demo.model) if on_hub else None
    data = SpaceCardData(
        title=demo.title,
        emoji="🏷️",
        colorFrom="blue",
        colorTo="green",
        sdk="gradio",
        sdk_version=GRADIO,
        app_file=APP,
        pinned=False,
        license=licensed,
        models=[demo.model] if on_hub else None,
        tags=["hf-ssl", "semi-supervised-learning", MODALITIES[demo.modality].pipeline],
    )
    model = f"[{demo.model}]({constants.ENDPOINT}/{demo.model})" if on_hub else code(demo.model)
    held = [
        f"{len(part.classes):,} {what}"
        for name, what in (("labeled", "labeled examples"), ("pool", "examples of the unlabeled pool"))
        if (part := demo.parts.get(name)) is not None
    ]
    lines = [
        f"---\n{data.to_yaml()}\n---",
        f"# {plain(demo.title)}",
        f"{_MARK}. It classifies {MODALITIES[demo.modality].plural} with {model}.",
    ]
    if held:
        shown = ", and shows them" if demo.with_examples else ", of which it has only features and classes"
        lines.append(f"It compares them with {' and '.join(held)}{shown}.")
    lines.append(
        f'On your machine: `pip install "gradio=={GRADIO}" -r requirements.txt`, then `python {APP}` in this folder.'
    )
    return "\n\n".join(lines) + "\n"
