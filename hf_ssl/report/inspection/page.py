"""What was gathered of a run as one HTML page: it needs no network, no server and no other file.

The tables and curves are there without scripts; the map and the examples need them. How names and texts of other
people stay texts: `hf_ssl.report.pages.assemble`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...files import atomic_write
from ..markdown import one_line
from ..pages.assemble import assemble, embedded
from ..stages import stage_rows
from .page_data import PICTURE_CLASSES, page_data
from .page_pictures import curve_figures, curve_methods, reliability_svg
from .page_tables import (
    calibration_rows,
    class_rows,
    confusion_tables,
    duplicate_rows,
    label_error_rows,
    setting_rows,
)

SCRIPTS = ("examples.js", "colors.js", "map.js", "cards.js", "matrix.js", "page.js")


def write_page(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write the page of a run, whole or not at all.

    Args:
        path: the HTML file; one that is there is replaced.
        data: the document that `hf_ssl.report.inspection.gather` makes: classes, examples in columns, their media,
            and what was measured. Numbers that are not finite count as missing.

    Raises:
        ValueError: if columns of examples have different lengths, or media are of another kind.
        OSError: if the file cannot be written.
    """
    text = render_page(data)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_page(data: Mapping[str, Any]) -> str:
    """The page as HTML; arguments and errors as in `write_page`."""
    script_data = page_data(data)
    names, examples = script_data["classes"], script_data["examples"]
    header, stages = stage_rows(data["stages"])
    confusion, calibration = data["confusion"], data["calibration"]
    return assemble(
        __package__,
        SCRIPTS,
        embedded(script_data),
        has_media=True,
        title=one_line(data["title"]),
        subtitle=one_line(data["subtitle"]),
        verdict=one_line(data["verdict"]) if data["verdict"] else "",
        absent=one_line(data["absent"]) if data.get("absent") else "",
        facts=[(one_line(name), one_line(value)) for name, value in data["facts"]],
        stage_header=header,
        stages=[
            {"cells": [one_line(cell) for cell in row], "is_kept": bool(run.get("kept"))}
            for row, run in zip(stages, data["stages"], strict=True)
        ],
        curve_methods=curve_methods(data["curves"]),
        curves=curve_figures(data["curves"]),
        classes=class_rows(data["classes"]),
        names=names,
        methods=script_data["methods"],
        num_examples=len(examples["part"]),
        has_points=any(value is not None for value in examples["x"]),
        has_previews=any(value >= 0 for value in examples["media"]),
        confusion=confusion_tables(confusion, names) if confusion is not None else None,
        most_pictured=PICTURE_CLASSES,
        calibration=calibration_rows(calibration) if calibration is not None else None,
        reliability=reliability_svg(calibration["bins"]) if calibration is not None else "",
        label_errors=label_error_rows(data, names),
        more_label_errors=len(data["label_errors"]),
        duplicates=duplicate_rows(data, names),
        more_duplicates=len(data["duplicates"]),
        settings=setting_rows(data["settings"]),
        versions=setting_rows(data["versions"]),
        command="\n".join(map(_indented, (data["command"] or "").splitlines())),
    )


def _indented(line: str) -> str:
    words = line.lstrip(" ")
    return line[: len(line) - len(words)] + one_line(words)
