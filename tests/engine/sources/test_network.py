"""A source whose server cannot be reached, or refuses: one line with the kind of fault and the fix, and no place."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import SourceError, open_source
from lesionforge.jobs import errors

NAME = "JaneDoe"


@pytest.fixture(scope="module")
def forbidding():
    """The address of a server that answers 403 to everything."""

    class Forbidding(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def keys(monkeypatch):
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x" * 20)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def said(uri):
    with pytest.raises(SourceError) as error:
        open_source(SourceRecipe(uri=uri), "sources.0.uri")
    line = str(error.value)
    assert NAME not in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("uri", "fix"),
    [
        ("masks:http://127.0.0.1:9/JaneDoe", "the endpoint is unreachable"),
        ("masks:http://{}/JaneDoe", "wrong keys"),
        ("ct:https://{}/JaneDoe", "speaks no TLS"),
        ("dicom:ftp://127.0.0.1:9/JaneDoe", "the endpoint is unreachable"),
        ("dicom:s3://a bad bucket!/JaneDoe", "correct the URL"),
    ],
)
def test_a_server_s_fault_is_one_line(uri, fix, forbidding, keys):
    assert fix in said(uri.format(forbidding))


def test_keys_that_are_refused_and_keys_that_are_missing(forbidding, keys):
    keys.setenv("AWS_ENDPOINT_URL", f"http://{forbidding}")
    assert "Permission denied; wrong keys" in said("dicom:s3://bucket/JaneDoe")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        keys.delenv(name)
    assert "NoCredentialsError; set AWS_ACCESS_KEY_ID" in said("dicom:s3://bucket/JaneDoe")


def test_what_a_network_raises_anywhere_is_one_line_without_a_place():
    from botocore.exceptions import EndpointConnectionError

    told = errors.unreached(EndpointConnectionError(endpoint_url="http://server/JaneDoe"))
    assert str(told).startswith("the network failed: EndpointConnectionError; the endpoint is unreachable: check ")
    assert NAME not in str(told)
    assert errors.unreached(KeyError("JaneDoe")) is None
