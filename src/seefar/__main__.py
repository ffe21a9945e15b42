"""`python -m seefar`."""

import sys

from seefar.cli import main

sys.exit(main())
