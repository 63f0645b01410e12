"""Files of kinds that are not read here: what each is, and what a person can do about it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SPREADSHEET = "save it as CSV (UTF-8) there"
ARCHIVE = "unpack it and name what is in it"
# What a file is by its suffix, and what to do about it.
_KINDS = {
    suffix: what
    for suffixes, what in (
        (".xlsx .xls .xlsm .ods .numbers", ("a spreadsheet of another program", SPREADSHEET)),
        (".zip .gz .tgz .tar .bz2 .xz .7z .rar .zst", ("an archive", ARCHIVE)),
        (".doc .docx .odt .pdf .rtf", ("a document", "save its texts as CSV, or one per line as .txt")),
        (".pkl .pickle", ("a pickle, which could run any code", "save it as Parquet or CSV")),
        (
            ".heic .heif .hif",
            (
                "an image that needs a program of its own",
                "convert it to JPEG (with pillow-heif, or magick x.heic x.jpg)",
            ),
        ),
        (
            ".cr2 .cr3 .nef .arw .dng .raw .orf .rw2",
            ("a camera's raw image", "export it as JPEG (with darktable, say)"),
        ),
        (".svg .eps .ai .psd .xcf", ("a drawing of another program", "export it as PNG")),
        (
            ".m4a .aac .wma .amr .mka .m4b",
            ("a recording that libsndfile does not read", "convert it (ffmpeg -i x.m4a x.wav)"),
        ),
        (".mp4 .mov .avi .mkv .webm .m4v", ("a video", "take its pictures or its sound out (ffmpeg -i x.mp4 x.wav)")),
    )
    for suffix in suffixes.split()
}
# Folders that programs make beside what a person puts there, some with small copies of every picture.
_OF_PROGRAMS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"}


def what_to_do(path: Path) -> str | None:
    """What a file is that cannot be used here, and what to do about it, by its suffix; None for others.

    Example:
        >>> what_to_do(Path("labels.xlsx"))
        'is a spreadsheet of another program; save it as CSV (UTF-8) there'
    """
    found = _KINDS.get(path.suffix.lower())
    return None if found is None else f"is {found[0]}; {found[1]}"


def what_to_do_about(files: Iterable[Path]) -> list[str]:
    """For each kind among the files a sentence: how many there are, what they are, and what to do.

    Example:
        >>> what_to_do_about([Path("a.m4a"), Path("b.M4A"), Path("c.txt")])
        ['2 .m4a files are not read (a recording that libsndfile does not read): convert it (ffmpeg -i x.m4a x.wav)']
    """
    numbers = Counter(file.suffix.lower() for file in files)
    said = []
    for suffix, number in numbers.items():
        if suffix in _KINDS:
            what, way = _KINDS[suffix]
            said.append(f"{number:,} {suffix} file{' is' if number == 1 else 's are'} not read ({what}): {way}")
    return said


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not meant for people: its name begins with a dot, or a program made it.

    Example:
        >>> is_hidden(".DS_Store"), is_hidden("__MACOSX"), is_hidden("photos")
        (True, True, False)
    """
    return name.startswith(".") or name in _OF_PROGRAMS
