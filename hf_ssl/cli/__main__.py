"""`python -m hf_ssl.cli`, which is `hf-ssl`."""

import sys

from . import main

sys.exit(main())
