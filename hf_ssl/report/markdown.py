"""Names of other people in Markdown: class names, files, datasets, columns and metrics, shown as they are.

A name is never markup: `<script>`, `[text](address)`, `|`, a line break or a fence in it would change the page around
it, and a page on the Hub is read as the words of its author.
"""

import re
import unicodedata

# Whatever Markdown or HTML could take for markup within a line; underscores only where a word begins or ends.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$@]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|(?<=\w):(?=//)|(?<=www)\.", re.IGNORECASE)
_PIPE = re.compile(r"(?<!\\)\|")


def one_line(text: object) -> str:
    """Without line breaks, control characters and marks that turn the direction of writing.

    Example:
        >>> one_line("a\\nb\\u202ec")
        'a bc'
    """
    kept = (" " if letter.isspace() else letter for letter in str(text))
    return " ".join("".join(x for x in kept if unicodedata.category(x) not in ("Cc", "Cf", "Cs")).split())


def plain(text: object) -> str:
    """A name in running text or in a cell of a table; Markdown shows it letter by letter.

    Example:
        >>> print(plain("LABEL_0"), plain("*a*|<b>"), plain("[x](https://y)"))
        LABEL_0 \\*a\\*\\|\\<b\\> \\[x\\](https\\://y)
    """
    return _MARKUP.sub(lambda found: "\\" + found[0], one_line(text))


def code(text: object) -> str:
    """A name as code, between as many backticks as it needs.

    Example:
        >>> print(code("fixmatch"), code("a`b"))
        `fixmatch` ``a`b``
    """
    text = one_line(text) or " "
    ticks = "`" * (_longest_run(text) + 1)
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{edge}{text}{edge}{ticks}"


def cell(markdown: str) -> str:
    """Markdown as the cell of a table: in code, too, a pipe would end it.

    Example:
        >>> print(cell("`a|b`"), cell(plain("a|b")))
        `a\\|b` a\\|b
    """
    return _PIPE.sub(r"\\|", one_line(markdown))


def fence(text: str) -> str:
    """The line before and after a block of code that the text cannot end.

    Example:
        >>> fence("echo"), fence("echo '````'")
        ('```', '`````')
    """
    return "`" * max(3, _longest_run(text) + 1)


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
