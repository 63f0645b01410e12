# /// script
# requires-python = ">=3.10"
# dependencies = ["hf-ssl[vision,audio]"]
# ///
"""Runs cells of a grid in a Hugging Face Job, and commits the file of each to a results repository.

`hf-ssl benchmark run GRID --engine jobs` starts it with `uv run`: what to run is in the environment variable
HF_SSL_CELLS, the access token in the secret HF_TOKEN. The version of hf-ssl is added to the dependencies there.
"""

from hf_ssl.benchmark.grid.engines.jobs_worker import main

if __name__ == "__main__":
    main()
