"""The commands of `hf-ssl` that need more than a few lines, one module each."""
