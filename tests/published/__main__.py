"""`python -m tests.published`: see `command`."""

import sys

from tests.published.command import main

sys.exit(main())
