#!/usr/bin/python3
"""`minio server --quiet [--address HOST:PORT] FOLDER` with moto's S3, for tests: as MinIO has it, a
folder of FOLDER is a bucket. Objects are in memory, and every password is right."""

import argparse
import os
import sys

# In the image that takes MinIO's place (stand-ins.mjs); elsewhere PYTHONPATH says it.
sys.path.append("/usr/lib/store")

from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
from moto.server import main  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["server"])
parser.add_argument("--quiet", action="store_true")
parser.add_argument("--address", default="0.0.0.0:9000")
parser.add_argument("folder")
wanted = parser.parse_args()
for bucket in os.listdir(wanted.folder):
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
host, port = wanted.address.rsplit(":", 1)
main(["--host", host, "--port", port])
