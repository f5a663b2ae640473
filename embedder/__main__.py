"""``python -m embedder`` is the command ``embedder``."""

import sys

from embedder.cli import main

sys.exit(main())
