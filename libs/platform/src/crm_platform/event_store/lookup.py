"""Finding stored events by a member, where the stream's id does not tell: an index over the events of one type."""

from typing import NamedTuple

from psycopg.sql import SQL, Composed, Identifier, Literal

from crm_events.event import Event


class FoundBy(NamedTuple):
    """Events of this type are found by this member, a UUID. Such an event has no personal block: the index is plain."""

    event: type[Event]
    member: str

    def creation(self, table: str) -> Composed:
        """Creates the index where it does not exist; looked at first, for creating one waits for every writer."""
        name = f"{table}_{self.event.__name__.lower()}_{self.member}"
        index = SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({}) WHERE topic = ANY({})").format(
            Identifier(name), Identifier(table), self._expression(), self._types()
        )
        return SQL("DO $do$ BEGIN IF to_regclass({}) IS NULL THEN {}; END IF; END $do$").format(Literal(name), index)

    def selection(self, table: str) -> Composed:
        """Selects the states of the events whose member is the parameter, in the order in which they were stored."""
        return SQL("SELECT state FROM {} WHERE topic = ANY({}) AND {} = %s ORDER BY notification_id").format(
            Identifier(table), self._types(), self._expression()
        )

    def _expression(self) -> Composed:
        # No cast to JSON: text that PostgreSQL's reader refuses would keep the event from being stored. No quotation
        # mark stands in a value without a backslash before it, so only a member can match.
        pattern = Literal(f'[{{,]"{self.member}":"([0-9a-f-]{{36}})"')
        return SQL("(substring(encode(state, 'escape') from {}))").format(pattern)

    def _types(self) -> Composed:
        names = SQL(", ").join(Literal(name) for name in (*self.event.older_type_names(), self.event.type_name()))
        return SQL("ARRAY[{}]").format(names)
