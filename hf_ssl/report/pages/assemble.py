"""A page from a template (page.html), styles and scripts that lie in a package, as one file.

Names and texts come from files of other people. They are escaped where the template puts them (jinja2), they cannot
end the element of the data (`embedded`), and scripts put them in as text. The page's policy lets no other script run
and nothing be loaded.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from ..._version import __version__


def assemble(package: str, scripts: Sequence[str], data: str, *, has_media: bool = False, **content: Any) -> str:
    """Render `page.html` of a package with `base.css` and `page.css`, and `base.js` and its own scripts.

    The template includes `head.html`, and puts in `script`, `data` and `version` beside the content.

    Args:
        package: in which the files are.
        scripts: names of its scripts, in the order in which they run.
        data: what the scripts find as `data`, from `embedded`.
        has_media: let `data:` addresses be shown as images and played as recordings.
        content: further variables of the template.
    """
    style = _file(__package__, "base.css") + _file(package, "page.css")
    script = _file(__package__, "base.js") + "".join(_file(package, name) for name in scripts)
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"head.html": _file(__package__, "head.html")}),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(_file(package, "page.html")).render(
        policy=_policy(style, script, has_media),
        style=Markup(style),
        script=Markup(script),
        data=Markup(data),
        version=__version__,
        **content,
    )


def embedded(value: Any) -> str:
    """JSON for `<script type="application/json">`: no text in it can end the element or begin a comment.

    Raises:
        ValueError: if a number is not finite.

    Example:
        >>> embedded({"name": "</script><!--"})
        '{"name":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _file(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _policy(style: str, script: str, has_media: bool) -> str:
    """The content security policy: this style and this script by their hashes, and nothing else."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    allowed = f"style-src {source(style)}; script-src {source(script)}"
    media = "img-src data:; media-src data:; " if has_media else ""
    return f"default-src 'none'; {allowed}; {media}base-uri 'none'; form-action 'none'"
