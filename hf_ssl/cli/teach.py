"""`hf-ssl teach`: what a larger model says of a pool, as a column that `hf-ssl train --teacher-column` learns from."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .labeling import class_names
from .output import check_file
from .parser import Subparsers, add_classifier_options
from .screen import one_line, progress, quiet_datasets, transformers_above_bars

if TYPE_CHECKING:
    from .teach_data import Examples, Named

# Rows that are asked about and then kept on the disk together: as many batches of the model.
_BATCHES = 4


def register(subparsers: Subparsers) -> None:
    """Add `teach` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "teach",
        help="let a larger model say what it thinks of the pool, for training with --teacher-column",
        description="Ask a larger model how probable each class is for every example of a pool, without training it. "
        "It can be CLIP- or SigLIP-like (images), CLAP (recordings), a model of entailment or any model that writes "
        "text (texts), or a classifier that was trained on these classes. Writes the pool with a column of "
        "probabilities. A run that was interrupted goes on where it was: start the same command again.",
    )
    parser.add_argument(
        "pool",
        metavar="POOL",
        help="unlabeled examples, as for `hf-ssl train --unlabeled`: a folder, a table, a .txt file or a Hub dataset",
    )
    parser.add_argument("--model", required=True, metavar="TEACHER", help="Hub id or folder of the larger model")
    parser.add_argument(
        "--classes",
        metavar="A,B,C",
        help="names of the classes, as the model is to read them, with commas between them (default: those of "
        "--labeled)",
    )
    parser.add_argument(
        "--labeled",
        metavar="DATA",
        help="labeled examples, on which the teacher's accuracy is told; their classes are asked for if --classes is "
        "not given",
    )
    parser.add_argument(
        "--template",
        metavar="TEXT",
        help="what a class's name is put into, at {} (default: 'This is a photo of {}.', 'This is a sound of {}.', "
        "'This example is {}.'); for a model that writes text, the prompt that the text is put into, which the name "
        "of a class then follows (default: 'Text: {}', a new line, and 'Class:')",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the pool with the new column: a .jsonl file of texts or names of files, or a .parquet file, which holds "
        "pictures and recordings themselves",
    )
    parser.add_argument("--teacher-column", default="teacher", metavar="NAME", help="name of the new column")
    parser.add_argument("--label-column", metavar="NAME", help="column of the class in --labeled; found if not given")
    parser.add_argument("--overwrite", action="store_true", help="replace the file of --output if it exists")
    add_classifier_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Ask the teacher about the pool, write the file, and say how good it is on the labeled examples.

    Raises:
        ValueError, OSError: in one line, for an option, model or dataset that cannot be used.
    """
    from ..data.sources import count
    from ..teach.journal import Journal
    from ..teach.models import Teacher, kind_of
    from .teach_data import load_labeled, load_pool, named_classes, write_pool

    if args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {args.batch_size}")
    output = Path(args.output)
    _check_output(output, args)
    transformers_above_bars()
    quiet_datasets()
    kind = kind_of(args.model)
    pool = load_pool(args.pool, kind.modality, args.column, args.teacher_column, output.suffix.lower())
    labeled = None if args.labeled is None else load_labeled(args.labeled, pool, args.label_column)
    named = named_classes(None if args.classes is None else class_names(args.classes), labeled)
    teacher = Teacher(args.model, named.asked, args.template, args.batch_size, args.device)
    question = {"model": args.model, "classes": named.asked, "template": teacher.template, "pool": pool.digest()}
    journal = Journal(output.with_name(output.name + ".unfinished"), question)
    for note in pool.notes:
        print(one_line(note))
    if journal.opinions:
        print(f"{len(journal.opinions):,} of {count(len(pool), 'example')} are known from an earlier run")
    if labeled is not None:
        print(_accuracy(teacher, labeled, named), flush=True)
    _ask(teacher, pool, journal, args.batch_size)
    cells = [
        None if isinstance(each, str) else dict(zip(named.written, each, strict=True)) for each in journal.opinions
    ]
    silent = [each for each in journal.opinions if isinstance(each, str)]
    if len(silent) == len(cells):
        journal.delete()
        raise ValueError(f"none of {count(len(cells), 'example')} could be read; the first: {silent[0]}")
    write_pool(pool, output, args.teacher_column, cells)
    journal.delete()
    if silent:
        print(one_line(f"{count(len(silent), 'example')} without an opinion; the first: {silent[0]}"))
    print(f"Written to {output}: {count(len(cells), 'example')}. Next:\n{_next(args, named)}")


def _check_output(output: Path, args: argparse.Namespace) -> None:
    if output.suffix.lower() not in (".jsonl", ".parquet"):
        raise ValueError(f"--output must end in .jsonl or .parquet, got {output}; give another name")
    inputs = [name for name in (args.pool, args.labeled) if name is not None]
    check_file("--output", output, output.suffix.lower(), inputs, args.overwrite)


def _ask(teacher: Any, pool: "Examples", journal: Any, batch_size: int) -> None:
    """Ask about the examples that are not in the journal yet; what is answered is on the disk at once."""
    waiting: list[Any] = []
    rest = pool.values(len(journal.opinions))
    for value in progress(rest, len(pool) - len(journal.opinions), "example"):
        waiting.append(value)
        if len(waiting) == _BATCHES * batch_size:
            journal.add(teacher(waiting))
            waiting = []
    if waiting:
        journal.add(teacher(waiting))


def _accuracy(teacher: Any, labeled: "Examples", named: "Named") -> str:
    """How many of the labeled examples the teacher is right about."""
    from ..data.sources import count

    pairs = zip(teacher(list(labeled.values(0))), named.labels, strict=True)
    right = [not isinstance(each, str) and int(each.argmax()) == label for each, label in pairs]
    share = 100 * sum(right) / len(right)
    return f"The teacher is right about {sum(right):,} of {count(len(right), 'labeled example')} ({share:.1f} %)"


def _next(args: argparse.Namespace, named: "Named") -> str:
    labeled = "LABELED" if args.labeled is None else args.labeled
    words = ["--model", "MODEL", "--labeled", labeled, "--unlabeled", args.output]
    return f"  hf-ssl train {shlex.join([*words, '--teacher-column', args.teacher_column])}"
