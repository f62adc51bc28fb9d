"""When things happen in the demo: in business hours, most of them lately."""

from datetime import datetime, timedelta
from random import Random

from crm_events.event import written

_WORKDAY = timedelta(hours=10)
_OPENS = 8
_WEEKS = 6
_TODAY = 0.35
_SATURDAY = 5


class Clock:
    """Moments before `now`, the moment at which the demo was first started."""

    def __init__(self, now: datetime, random: Random) -> None:
        self.now = now
        self._random = random

    def today(self) -> str:
        """Some time in the working day that ends now."""
        return written(self.now - self._part_of(_WORKDAY))

    def lately(self) -> str:
        """Today, or on one of the working days of the past weeks, rather a near one than a far one."""
        if self._random.random() < _TODAY:
            return self.today()
        days = 1 + min(self._random.expovariate(1 / 10), 7 * _WEEKS)
        day = (self.now - timedelta(days=days)).replace(hour=_OPENS, minute=0, second=0)
        if day.weekday() >= _SATURDAY:
            day -= timedelta(days=day.weekday() - _SATURDAY + 1)
        return written(day + self._part_of(_WORKDAY))

    def long_ago(self) -> str:
        """Before anything else of the demo happened."""
        days = self._random.randint(7 * _WEEKS + 7, 900)
        return written((self.now - timedelta(days=days)).replace(hour=_OPENS) + self._part_of(_WORKDAY))

    def just_after_now(self) -> str:
        """Within seconds, as the first answers to a campaign come in while it is being launched."""
        return written(self.now + timedelta(seconds=1) + self._part_of(timedelta(seconds=4)))

    def date_ahead(self) -> str:
        """A day in the next quarter."""
        return (self.now + timedelta(days=self._random.randint(7, 90))).date().isoformat()

    def _part_of(self, length: timedelta) -> timedelta:
        return timedelta(seconds=int(self._random.random() * length.total_seconds()))
