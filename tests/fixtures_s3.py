"""S3 servers for tests: a real one (Ceph) and a mock that answers as AWS does (moto), both on loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.session import Session

from lesionforge.infra.ceph import Ceph, CephMissing, free_ports, install

BUCKET = "lesionforge"


@pytest.fixture(scope="session")
def ceph_env() -> Iterator[dict[str, str]]:
    """AWS variables of a Ceph server that has the bucket "lesionforge"."""
    try:
        install()
    except CephMissing as error:
        pytest.skip(str(error))
    with Ceph() as server:
        server.make_bucket(BUCKET)
        yield server.env()


@pytest.fixture(scope="session")
def moto_env() -> Iterator[dict[str, str]]:
    """AWS variables of a moto server, in its own process, that has the bucket "lesionforge"."""
    with serve_moto() as env:
        yield env


@contextmanager
def serve_moto() -> Iterator[dict[str, str]]:
    """The same, without pytest."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    env = {
        "AWS_ACCESS_KEY_ID": "moto-key",
        "AWS_SECRET_ACCESS_KEY": "moto-secret-of-no-use",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
    }
    try:
        _make_bucket(env)
        yield env
    finally:
        server.terminate()
        server.wait(10)


def _make_bucket(env: dict[str, str]) -> None:
    client = Session().create_client(
        "s3",
        region_name=env["AWS_REGION"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
