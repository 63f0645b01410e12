"""A torchaudio that is missing, or was built for another torch, is an error of recordings alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hf_ssl.torchaudio_import import torchaudio_functional

ROOT = Path(__file__).resolve().parents[2]
BROKEN = {
    "of another torch": (
        OSError,
        "libtorchaudio.so: undefined symbol:\n_ZN3c10",
        "libtorchaudio.so: undefined symbol: _Z",
    ),
    "of another CUDA": (
        RuntimeError,
        "PyTorch has CUDA 13\nand TorchAudio 12",
        "PyTorch has CUDA 13 and TorchAudio 12",
    ),
}
# Run in another process, in which nothing has imported the real one.
SCRIPT = """
import sys, tempfile
import numpy as np
import hf_ssl.trainer
from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.views.audio import AudioViews
from tests.helpers.tiny_tasks import TASKS, new_model, task

for modality in ("image", "text"):
    args = SSLConfig(tempfile.mkdtemp(), max_steps=1, per_device_train_batch_size=2, report_to="none", use_cpu=True,
                     save_strategy="no", dataloader_num_workers=0, dataloader_pin_memory=False, disable_tqdm=True)
    trainer = SSLTrainer(new_model(modality), args, **task(modality))
    trainer.train()
    print(modality, trainer.state.global_step)
views = AudioViews(TASKS["audio"][1](), effects=("speed",))
row = {"audio": np.sin(np.arange(9000) / 9)}
print("weak", len(views("weak", row, np.random.default_rng(0))))
try:
    views("strong", row, np.random.default_rng(0))
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("error", "message", "reason"), BROKEN.values(), ids=BROKEN)
def test_images_and_texts_train_and_recordings_say_what_to_do(tmp_path, error, message, reason):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(f"raise {error.__name__}({message!r})")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("step ", "trained "))]
    assert lines[-4:-1] == ["image 1", "text 1", "weak 9000"]
    assert lines[-1].startswith(f"recordings need torchaudio, which cannot be imported ({reason}")
    assert f"torchaudio is installed but cannot be imported ({reason}" in done.stderr
    assert lines[-1].endswith('); pip install "hf-ssl[audio]"')


def test_a_library_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(ImportError, match=r'^recordings need torchaudio, .*; pip install "hf-ssl\[audio\]"$') as error:
        torchaudio_functional()
    assert "\n" not in str(error.value)


def test_one_module_alone_imports_it():
    imports = re.compile(r"^\s*(import|from) torchaudio|(import_module|library)\(.torchaudio", re.MULTILINE)
    found = [path.name for path in (ROOT / "hf_ssl").rglob("*.py") if imports.search(path.read_text(encoding="utf-8"))]
    assert found == ["torchaudio_import.py"]
