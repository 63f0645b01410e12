"""Write guides/training_arguments.md from hf_ssl/settings/training_arguments.py, a row for each setting of Trainer.

python examples/benchmarks/arguments_page.py
"""

from dataclasses import fields
from pathlib import Path

from transformers import TrainingArguments

from hf_ssl.settings.training_arguments import KINDS, TRAINER_SETTINGS

PAGE = Path(__file__).parents[1] / "guides" / "training_arguments.md"
INTRODUCTION = """\
# All `TrainingArguments`

`SSLConfig` takes every setting of transformers' `TrainingArguments`. This table says what becomes of each one; it is
made by `examples/benchmarks/arguments_page.py`. What differs beside settings is in
[settings_that_matter.md](settings_that_matter.md).

"""


def page() -> str:
    """The text of the page, with the settings in transformers' order."""
    count = {kind: sum(setting.kind == kind for setting in TRAINER_SETTINGS.values()) for kind in KINDS}
    kinds = "".join(f"- **{kind}** ({count[kind]}): {meaning}\n" for kind, meaning in KINDS.items())
    rows = [(field.name, TRAINER_SETTINGS[field.name]) for field in fields(TrainingArguments)]
    table = "".join(f"| `{name}` | {setting.kind} | {setting.note} |\n" for name, setting in rows)
    return f"{INTRODUCTION}{kinds}\n| setting | here | how, or why |\n| --- | --- | --- |\n{table}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
