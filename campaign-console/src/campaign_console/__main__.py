from __future__ import annotations

import sys

from campaign_console.cli import main

sys.exit(main(sys.argv[1:]))
