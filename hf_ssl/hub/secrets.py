"""Looks for tokens and keys in files before they are published.

What was published once must be taken for known, also after it was deleted: a repository keeps its history, and public
ones are searched for keys within minutes.
"""

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

# What a file has that holds one of the given tokens.
YOURS = "your access token"
# Kind -> how such a key looks. Each has a beginning by which its issuer's own scanners know it.
KEYS = {
    "Hugging Face token": rb"\bhf_[A-Za-z0-9]{30,}\b|\bapi_org_[A-Za-z0-9]{30,}\b",
    "AWS key": rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "AWS secret": rb"(?i:aws_secret_access_key|secretaccesskey)[\\\"']*\s*[:=]\s*[\\\"']*[A-Za-z0-9/+=]{40}",
    "GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}\b",
    "GitLab token": rb"\bglpat-[A-Za-z0-9_-]{20,}",
    "OpenAI or Anthropic key": rb"\bsk-(?:proj-|svcacct-|ant-|admin-)[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{40,}\b",
    "Google key": rb"\bAIza[A-Za-z0-9_-]{35}",
    "Slack token": rb"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "Weights & Biases key": rb"(?i:wandb_api_key|wandb_key)[\\\"']*\s*[:=]\s*[\\\"']*[0-9a-f]{40}",
    "Stripe key": rb"\b[rs]k_live_[A-Za-z0-9]{20,}",
    "private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "password in an address": rb"://[^\s/:@\"'{}<>$]+:[^\s/:@\"'{}<>$]{6,}@[\w.-]+",
}
_ANY = [(kind, re.compile(pattern)) for kind, pattern in KEYS.items()]
# Bytes read at once, and those read again with the next ones, so that a key between two is seen.
_PIECE, _OVERLAP = 1 << 22, 1 << 10
_HEADER_LENGTH = 8


def find_secret(path: Path, tokens: Iterable[str] = ()) -> str | None:
    """What kind of key a file has in it; None if none was found.

    Of weights and optimizer states everything is read but their numbers, which are not text.

    Args:
        path: the file.
        tokens: access tokens that are looked for as they are.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "modeling_x.py")
        >>> _ = path.write_text('login(token="hf_' + 34 * "a" + '")')
        >>> find_secret(path)
        'Hugging Face token'
    """
    given = list(tokens)
    return next((kind for piece in _texts(path) if (kind := secret_in(piece, given)) is not None), None)


def secret_in(text: bytes, tokens: Iterable[str] = ()) -> str | None:
    """What kind of key a text has in it; None if none was found.

    Args:
        text: as it is meant, without the escapes of a file.
        tokens: access tokens that are looked for as they are.

    Example:
        >>> secret_in(b"ghp_" + 36 * b"a"), secret_in(b"a text")
        ('GitHub token', None)
    """
    wanted = [(YOURS, re.compile(re.escape(token.encode()))) for token in tokens if token]
    return next((kind for kind, pattern in [*wanted, *_ANY] if pattern.search(text)), None)


def _texts(path: Path) -> Iterable[bytes]:
    """Whatever can be text in a file, in pieces."""
    if path.suffix == ".safetensors":
        yield from _header(path)
    elif path.suffix in (".pt", ".pth", ".bin") and zipfile.is_zipfile(path):
        # As torch saves it: a pickle, and the numbers of each tensor under data/.
        with zipfile.ZipFile(path) as members:
            yield from (members.read(name) for name in members.namelist() if "/data/" not in name)
    else:
        yield from _pieces(path)


def _pieces(path: Path) -> Iterable[bytes]:
    kept = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield kept + piece
            kept = (kept + piece)[-_OVERLAP:]


def _header(path: Path) -> Iterable[bytes]:
    """The header of a safetensors file, with its escapes undone: a JSON object of names, shapes and metadata."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(_HEADER_LENGTH), "little")
        header = file.read(min(size, path.stat().st_size))
    yield header
    try:
        yield json.dumps(json.loads(header), ensure_ascii=False).encode("utf-8", "surrogatepass")
    except ValueError:
        return
