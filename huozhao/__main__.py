"""``python -m huozhao``."""

import sys

from huozhao.cli import main

sys.exit(main())
