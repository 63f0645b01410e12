"""The only module that imports torchaudio, which images and texts never need.

    hf_ssl.views.audio_effects  --first resampling or change of pitch-->  `torchaudio_functional`
    transformers.audio_utils    --import, for models of all kinds------>  torchaudio, if it is installed

A torchaudio that was built for another torch is installed but cannot be imported, and then neither can any model of
transformers. It is therefore tried just before transformers imports it. If that fails, it counts as not installed in
this process: one warning says so, and only recordings that need it are an error.
"""

import importlib.util
import logging
import sys
from importlib.abc import MetaPathFinder
from typing import Any

logger = logging.getLogger(__name__)

_WAY_OUT = 'pip install "hf-ssl[audio]"'
# Why torchaudio was hidden.
_reasons: list[str] = []


def torchaudio_functional() -> Any:
    """The module `torchaudio.functional`, imported when it is first needed.

    Raises:
        ImportError: in one line, if torchaudio is missing or broken.
    """
    try:
        return importlib.import_module("torchaudio.functional")
    except Exception as error:
        reason = _reasons[-1] if _reasons else one_line(error)
        raise ImportError(f"recordings need torchaudio, which cannot be imported ({reason}); {_WAY_OUT}") from error


def hide_broken_torchaudio() -> None:
    """Import torchaudio if it is installed; if that fails, warn, and let it count as missing in this process."""
    if importlib.util.find_spec("torchaudio") is None:
        return
    try:
        importlib.import_module("torchaudio")
    except Exception as error:
        # OSError, RuntimeError, AttributeError, ...: whatever a library for another torch stumbles on first.
        _reasons.append(one_line(error))
        logger.warning(
            f"torchaudio is installed but cannot be imported ({_reasons[-1]}); images and texts do not need it, for "
            f"recordings {_WAY_OUT}"
        )
        # So Python marks what must not be imported, and transformers looks for it again.
        sys.modules["torchaudio"] = None  # type: ignore[assignment]  # typeshed knows no such mark
        importlib.import_module("transformers.utils").is_torchaudio_available.cache_clear()


def one_line(error: Exception) -> str:
    """The message of an error in one line of 200 letters at most."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class _BeforeTransformersImportsIt(MetaPathFinder):
    """Finds nothing, but is asked before the module of transformers that imports torchaudio is found."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "transformers.audio_utils":
            sys.meta_path.remove(self)
            hide_broken_torchaudio()


def watch_for_transformers() -> None:
    """Have torchaudio tried before transformers imports it; costs nothing until then."""
    if "transformers.audio_utils" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTransformersImportsIt())
