"""How many bytes an order takes in the read model: `python3 scripts/scale-sizes.py [FILE] [ORDERS]`.

Takes the newest delivered order of a shop's SQLite file (data/waybill.db, of `just demo`), writes it
many times, each with an id and a customer of its own, into a fresh file of the same migrations, and
divides. What docs/scale.md says is of 20,000 orders.
"""

import glob
import json
import os
import sqlite3
import sys
import tempfile
from datetime import datetime

file = sys.argv[1] if len(sys.argv) > 1 else "data/waybill.db"
orders = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

shop = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
shop.row_factory = sqlite3.Row
sample = shop.execute(
    "SELECT order_id, user_id, record, search_text, total_cents, pieces FROM orders"
    " WHERE status = 'delivered' ORDER BY id DESC LIMIT 1"
).fetchone()
if sample is None:
    sys.exit(f"{file} has no delivered order: place one first")

with tempfile.TemporaryDirectory() as folder:
    copy = sqlite3.connect(os.path.join(folder, "copy.db"), isolation_level=None)
    # Python's own SQLite may be older than `subsec`; the triggers of the migrations need it.
    copy.create_function("unixepoch", -1, lambda at, *_: datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp())
    for migration in sorted(glob.glob(os.path.join(root, "migrations", "*.sql"))):
        copy.executescript(open(migration, encoding="utf-8").read())

    def size():
        return copy.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]

    empty = size()
    copy.execute("BEGIN")
    for number in range(orders):
        user = f"u{number % 1000:04d}"
        order = f"{user}.{number:06d}-4f1a"
        record = sample["record"].replace(sample["order_id"], order)
        # What hangs on an order (lines, events, payments, notifications, audit) is written by
        # triggers. Numbers of the provider and the carrier are each order's own.
        record = json.loads(record)
        record["user_id"] = user
        for payment in record["payments"]:
            for key in ("awakeable_id", "payment_id", "transaction_id"):
                if payment.get(key):
                    payment[key] = f"{payment[key][:-6]}{number:06d}"
        text = sample["search_text"].replace(sample["order_id"], order).replace(sample["user_id"], user)
        created = 1_795_000_000_000 + number * 1000
        copy.execute(
            "INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at, status_since,"
            " ended_at, total_cents, pieces, search_text, record)"
            " VALUES (?, ?, ?, 14, 'delivered', ?, ?, ?, ?, ?, ?, ?, ?)",
            (created << 20, order, user, created, created, created, created, sample["total_cents"],
             sample["pieces"], text, json.dumps(record, separators=(",", ":"))),
        )
    copy.execute("COMMIT")
    copy.execute("VACUUM")
    told = copy.execute("SELECT count(*) FROM notifications").fetchone()[0]
    each = (size() - empty) / orders
    print(f"record: {len(sample['record'].encode())} bytes; read model: {each:.0f} bytes an order ({orders} orders, {told / orders:.0f} notifications each)")
