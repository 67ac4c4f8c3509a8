"""`python -m crm_attribution.emulators`."""

import sys

from crm_attribution.emulators.program import main

sys.exit(main())
