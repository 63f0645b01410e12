"""Translation by sampling from a sequence-to-sequence model, for back-translation."""

from collections.abc import Sequence


class Translator:
    """A sequence-to-sequence model of transformers that translates by sampling.

    Args:
        name: Hub id or local path, such as those of MarianMT.
        temperature: of the sampling, above 0.
        device: for torch; the accelerator if there is one, else the CPU, by default.

    Raises:
        OSError: if the model cannot be loaded.
        ImportError: if its tokenizer needs sentencepiece and it is not installed.
    """

    def __init__(self, name: str, temperature: float, device: str | None = None):
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name)
        except ImportError as error:
            reason = " ".join(str(error).split()).split(" but ")[0]
            raise ImportError(f'{name}: {reason}: pip install "hf-ssl[translation]"') from error
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        # Loading draws random numbers for weights that it then replaces.
        with torch.random.fork_rng([]):
            self.model = AutoModelForSeq2SeqLM.from_pretrained(name).to(device or accelerator or "cpu").eval()
        self.temperature = temperature
        positions = getattr(self.model.config, "max_position_embeddings", None) or 512
        self.max_length = min(self.tokenizer.model_max_length, positions)

    def translate(self, texts: Sequence[str], batch_size: int, seed: int) -> list[str]:
        """The translations in the texts' order. The global random generators stay as they are."""
        import torch

        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        results = [""] * len(texts)
        device = self.model.device
        # The generator of the CPU is always forked; that of "mps" cannot be named by its device.
        forked = [device] if device.type in ("cuda", "xpu") else []
        with torch.random.fork_rng(forked, device_type=device.type), torch.no_grad():
            torch.manual_seed(seed)
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                for index, text in zip(batch, self._translate([texts[index] for index in batch]), strict=True):
                    results[index] = text
        return results

    def _translate(self, texts: list[str]) -> list[str]:
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        ids = self.model.generate(
            input_ids=inputs["input_ids"].to(self.model.device),
            attention_mask=inputs["attention_mask"].to(self.model.device),
            do_sample=True,
            temperature=self.temperature,
            # By their own settings the models use beam search, and by the library's the 50 most likely words.
            num_beams=1,
            top_k=0,
            top_p=1.0,
            max_length=self.max_length,
        )
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
