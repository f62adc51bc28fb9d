"""For every suite: a property test says what holds, not how fast this machine showed it, and tells how to repeat it."""

from hypothesis import HealthCheck, settings

settings.register_profile("platform", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("platform")
