"""`python -m seefar`."""

import sys

from seefar.cli.main import main

sys.exit(main())
