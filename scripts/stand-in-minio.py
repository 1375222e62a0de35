#!/usr/bin/python3
"""`minio server --quiet FOLDER` with moto's S3 (stand-ins.mjs): port 9000, and as MinIO has it a
folder of FOLDER is a bucket. Objects are in memory, and every password is right."""

import os
import sys

sys.path.insert(0, "/usr/lib/store")

from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
from moto.server import main  # noqa: E402

if sys.argv[1:-1] != ["server", "--quiet"]:
    sys.exit(f"the stand-in for MinIO knows `minio server --quiet FOLDER`, not {sys.argv}")
for bucket in os.listdir(sys.argv[-1]):
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, "us-east-1")
main(["--host", "0.0.0.0", "--port", "9000"])
