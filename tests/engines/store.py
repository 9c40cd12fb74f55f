"""A real S3 server on loopback, and its objects as Amazon's own client library (inside Arrow) reads them.

SeaweedFS checks signatures, lists in pages and puts pieces together as Amazon's store does, and keeps its data in files.
It is started when first asked for, on free ports of 127.0.0.1, and ended by its id.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import world

SERVER = Path(sys.executable).with_name("weed")
BUCKET = "datasets"
KEY, SECRET = "AKIDOFTHETESTS", "secret-of-the-tests-0123456789abcdef"
# It takes about three seconds.
LONGEST_START = 60
# The ports of its parts, each of which would otherwise choose its own
PORTS = ["master", "volume", "filer", "s3"]


def is_there():
    """The server is packaged only for Linux."""
    return SERVER.exists()


def _free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@functools.cache
def filesystem():
    """Arrow's file system on the server, which has one empty bucket; the program finds the server as well."""
    import pyarrow.fs

    folder = world.folder()
    (folder / "data").mkdir()
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "List", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip([*PORTS, *(f"{part} grpc" for part in PORTS)], _free_ports(2 * len(PORTS))))
    flags = [f"-{part}.port={ports[part]}" for part in PORTS]
    flags += [f"-{part}.port.grpc={ports[f'{part} grpc']}" for part in PORTS]
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-master.telemetry=false"]
    flags += [f"-filer.localSocket={folder}/filer", f"-s3.localSocket={folder}/s3"]
    flags += ["-master.volumeSizeLimitMB=64", "-volume.max=40", f"-s3.config={folder}/s3.json"]
    command = [SERVER, f"-logdir={folder}", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}/data"]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [*command, "-filer", "-s3", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    world.ended_by_its_id(process)
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    os.environ.update(
        AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=endpoint
    )
    for name in ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"]:
        os.environ.pop(name, None)
    found = pyarrow.fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        region="us-east-1",
        endpoint_override=f"127.0.0.1:{ports['s3']}",
        scheme="http",
        allow_bucket_creation=True,
        request_timeout=20,
    )
    deadline = time.monotonic() + LONGEST_START
    while True:
        try:
            found.create_dir(BUCKET)
            found.create_dir(f"{BUCKET}/ready")
            found.delete_dir(f"{BUCKET}/ready")
            return found
        except OSError as error:
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError(f"the S3 server did not start: {error}\n{(folder / 'log').read_text()}") from error
            time.sleep(0.2)


def url(prefix):
    return f"s3://{BUCKET}/{prefix}"


def names(prefix):
    """Objects below a prefix with their sizes."""
    import pyarrow.fs

    found = filesystem().get_file_info(pyarrow.fs.FileSelector(f"{BUCKET}/{prefix}", recursive=True, allow_not_found=True))
    inside = len(f"{BUCKET}/{prefix}/")
    return {one.path[inside:]: one.size for one in found if one.type == pyarrow.fs.FileType.File}


def read(prefix, name):
    """An object's bytes; None if it does not exist, or no longer exists."""
    try:
        with filesystem().open_input_stream(f"{BUCKET}/{prefix}/{name}") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        # It was deleted between the request for its size and that for its bytes.
        if "RESOURCE_NOT_FOUND" in str(error) or "NO_SUCH_KEY" in str(error):
            return None
        raise


def objects(prefix):
    """All of a prefix."""
    return {name: read(prefix, name) for name in names(prefix)}
