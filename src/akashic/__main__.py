"""`python -m akashic` is `akashic`."""

import sys

from akashic.cli import main

sys.exit(main())
