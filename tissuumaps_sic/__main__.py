"""``python -m tissuumaps_sic`` is the command ``tissuumaps-sic``."""

import sys

from tissuumaps_sic.cli import main

sys.exit(main())
