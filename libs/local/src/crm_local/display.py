"""How the stack's coming and going is shown on a terminal."""

import time

from rich.console import Console
from rich.status import Status

from crm_local.state import PartRecord, PartState, Phase, StackRecord

_STYLES = {
    PartState.READY: "green",
    PartState.RESTARTING: "yellow",
    PartState.STOPPED: "dim",
    PartState.HELD: "yellow",
}
_SILENT = (PartState.WAITING, PartState.PREPARING, PartState.STARTING)


class Display:
    """Prints a line for each change that matters, and on a terminal names what is still awaited."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, tuple[PartState, str, int]] = {}
        self._since = time.monotonic()
        self._awaited: Status | None = None

    def show(self, record: StackRecord) -> None:
        for part in record.parts.values():
            self._show_part(part)
        self._show_awaited(record)

    def close(self) -> None:
        if self._awaited is not None:
            self._awaited.stop()
            self._awaited = None

    def _show_part(self, part: PartRecord) -> None:
        now = (part.state, part.note, part.restarts)
        before = self._shown.get(part.name)
        self._shown[part.name] = now
        is_progress = part.state in _SILENT and not (part.state is PartState.PREPARING and part.note)
        if now == before or is_progress:
            return
        if before is None and part.state is PartState.STOPPED:
            return
        seconds = f"{time.monotonic() - self._since:6.1f} s"
        detail = part.note or (part.address if part.state is PartState.READY else "")
        style = _STYLES.get(part.state, "")
        state = part.state.value
        self._console.print(
            f"[dim]{seconds}[/dim]  {part.name:<17}[{style or 'none'}]{state:<11}[/]",
            detail,
            highlight=False,
            soft_wrap=True,
        )

    def _show_awaited(self, record: StackRecord) -> None:
        awaited = [part.name for part in record.parts.values() if part.state in _SILENT]
        if not self._console.is_terminal or not awaited or record.phase is not Phase.STARTING:
            self.close()
            return
        text = f"starting {', '.join(awaited)}"
        if self._awaited is None:
            self._awaited = self._console.status(text)
            self._awaited.start()
        self._awaited.update(text)
