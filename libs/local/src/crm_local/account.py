"""The account of a server that refuses to run as root, as PostgreSQL does."""

import os
import pwd
import shutil
from pathlib import Path

from crm_local.errors import LocalStackError

_ACCOUNT = "nobody"


def drop_root(paths: tuple[Path, ...]) -> tuple[str, ...]:
    """Options of setpriv with which root becomes an unprivileged user that still reaches `paths`; none for others.

    Raises LocalStackError where root cannot give up its rights that way.
    """
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        raise LocalStackError(
            "PostgreSQL refuses to run as root, and setpriv, which would change the user, is not installed: "
            "install util-linux or start the stack as an ordinary user",
        )
    account = pwd.getpwnam(_ACCOUNT)
    options = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    if all(_is_open_to_all(path) for path in paths):
        return options
    # A checkout below a closed folder (a home, a temporary folder): the server may pass through it.
    # Nothing on the disk is opened to anybody for that.
    return (*options, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def give(path: Path) -> None:
    """Hands a file or folder to the account that `drop_root` changes to. Does nothing for an ordinary user."""
    if os.geteuid() == 0:
        account = pwd.getpwnam(_ACCOUNT)
        os.chown(path, account.pw_uid, account.pw_gid)


def _is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)
