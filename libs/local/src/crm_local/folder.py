"""Where the local stack keeps everything: one state folder, its layout in one place."""

from dataclasses import dataclass
from pathlib import Path

_WORKSPACE = Path(__file__).parents[4]


def default_root() -> Path:
    """`.local` of the checkout this code runs from; of the current folder when it is installed elsewhere."""
    is_checkout = (_WORKSPACE / "libs" / "local" / "pyproject.toml").is_file()
    return (_WORKSPACE if is_checkout else Path.cwd()) / ".local"


@dataclass(frozen=True)
class StateFolder:
    """The folder of one stack: ports, data, logs, secrets and what is running. Private to the user who made it."""

    root: Path

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def jwks(self) -> Path:
        return self.root / "jwks.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def lock(self) -> Path:
        return self.run / "supervisor.lock"

    @property
    def held(self) -> Path:
        """One empty file for each part that is to stay down until its file is removed."""
        return self.run / "held"

    @property
    def crashes(self) -> Path:
        """One file for each part whose next start is to die at a crash point; tests write it."""
        return self.run / "crashes"

    @property
    def adjusted(self) -> Path:
        """One file for each server whose settings differ from those of every local stack; tests write it."""
        return self.root / "adjusted"

    def data(self, part: str) -> Path:
        return self.root / "data" / part

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"

    def create(self) -> None:
        """Makes the folders that are missing. The secrets are closed to everybody else."""
        # A database server that may not run as root passes through to its data, and sees nothing on the way.
        for path, mode in (
            (self.root, 0o711),
            (self.root / "data", 0o711),
            (self.secrets, 0o700),
            (self.logs, 0o700),
            (self.run, 0o700),
            (self.held, 0o700),
        ):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
