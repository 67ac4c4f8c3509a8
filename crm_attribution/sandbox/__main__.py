"""`python -m crm_attribution.sandbox`."""

import sys

from crm_attribution.sandbox.program import main

sys.exit(main())
