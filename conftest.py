"""For every suite: how properties are shown, and what the processes that tests start inherit."""

import signal

from hypothesis import HealthCheck, settings

# A property test says what holds, not how fast this machine showed it, and tells how to repeat it.
settings.register_profile("platform", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("platform")

# Who runs the tests in the background may ignore SIGINT, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
