"""What a person can set about the local stack, from the environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from crm_local.folder import StateFolder, default_root


class LocalSettings(BaseSettings):
    """`CRM_LOCAL_DIR` is the state folder; `CRM_GATEWAY_PORT` the port people use, 0 for a free one."""

    model_config = SettingsConfigDict(env_prefix="CRM_")

    local_dir: Path = Field(default_factory=default_root)
    gateway_port: int = Field(default=8000, ge=0, le=65535)

    @property
    def folder(self) -> StateFolder:
        return StateFolder(self.local_dir.expanduser().resolve())
