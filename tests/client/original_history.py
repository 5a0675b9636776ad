"""What a user of the original SDK sees of history. Runs under its Python; prints JSON.

Argument: the name of a bucket. With a second one, it saves twice before it looks.
"""

import json
import sys

import renga

client = renga.from_env()
(bucket,) = [bucket for bucket in client.buckets.list() if bucket.name == sys.argv[1]]
if len(sys.argv) > 2:
    with bucket.files.open(filename="d/by-original", mode="w") as handle:
        handle.write(b"original one")
    with bucket.files[handle.id].open("w") as handle:
        handle.write(b"original two")
seen = {
    file.filename: [
        [version.id, int(version.created.timestamp()), version.open("r").read().decode()]
        for version in sorted(file.versions, key=lambda version: version.id)
    ]
    for file in bucket.files
}
print(json.dumps(seen))
