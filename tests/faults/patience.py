"""How long the suite waits: as long as the platform promises, or longer on a machine that does other work meanwhile."""

import os

PATIENCE = float(os.environ.get("CRM_FAULTS_PATIENCE", "1"))
"""By how much every wait is longer. 1 is what the platform promises."""
