"""How long the properties of the rules are searched, by CLAIMWRIGHT_TEST_PROFILE."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "prove", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("CLAIMWRIGHT_TEST_PROFILE", "default"))
