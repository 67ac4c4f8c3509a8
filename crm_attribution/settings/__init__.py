"""Settings: what one is, the product's own, and how they are read. Others are declared where they are used;
`configuration` reads all.

Everything comes from the environment. Whatever is missing is reported together, with where to get it.
"""

from crm_attribution.settings.base import (
    Group,
    Setting,
    file,
    listed,
    of_account,
    postgresql,
    secret,
    text,
    whole,
)
from crm_attribution.settings.environment import apply_env_file, read_env_file, set_environment
from crm_attribution.settings.product import (
    ALERT_URL,
    CLOCK,
    DAGSTER_URL,
    DATA_DIR,
    DEFAULT_START,
    MAPPING,
    OURS,
    PRODUCT,
    PUBLISHED_DAYS,
    PUBLISHED_MODE,
    SNAPSHOT_HOURS,
    START,
    TRAITS,
)
from crm_attribution.settings.reading import Settings, read

__all__ = [
    "ALERT_URL",
    "CLOCK",
    "DAGSTER_URL",
    "DATA_DIR",
    "DEFAULT_START",
    "MAPPING",
    "OURS",
    "PRODUCT",
    "PUBLISHED_DAYS",
    "PUBLISHED_MODE",
    "SNAPSHOT_HOURS",
    "START",
    "TRAITS",
    "Group",
    "Setting",
    "Settings",
    "apply_env_file",
    "file",
    "listed",
    "of_account",
    "postgresql",
    "read",
    "read_env_file",
    "secret",
    "set_environment",
    "text",
    "whole",
]
