"""``python -m redunet`` is the command ``redunet``."""

import sys

from redunet.cli import main

sys.exit(main())
