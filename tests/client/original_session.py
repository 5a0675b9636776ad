"""What a user of the original SDK does. Runs under its Python; prints what it saw as JSON.

Arguments: the URL of 1 MiB to read. The service comes from the environment.
"""

import json
import sys
import time

import renga

seen = {}
client = renga.from_env()

seen["backends"] = client.buckets.backends
bucket = client.buckets.create(name="first", backend="local")
seen["bucket"] = [bucket.id, bucket.name, bucket.backend]
found = client.buckets[bucket.id]
seen["bucket found"] = [found.id, found.name, found.backend]
seen["buckets"] = [(each.id, each.name) for each in client.buckets.list()]

with bucket.files.open(filename="dir/hello.txt", mode="w") as handle:
    seen["new handle"] = [handle.can_write, handle.can_read]
    handle.write(b"hello world")
file = bucket.files[handle.id]
seen["file"] = [file.id == handle.id, file.filename]
seen["read"] = file.open("r").read().decode()
seen["read part"] = file.open("r").read(5).decode()

file.filename = "dir/renamed.txt"
seen["renamed"] = [each.filename for each in bucket.files]

with file.open("w") as handle:
    handle.write(b"hello again")
with file.open("w") as handle:
    handle.write(piece for piece in [b"hello ", b"at ", b"last"])
seen["versions"] = [
    [version.filename, version.open("r").read().decode()] for version in file.versions
]
seen["created"] = [version.created.isoformat() for version in file.versions]
newest = file.versions.list()[0]
seen["version found"] = file.versions[newest.id].open("r").read().decode()

clone = file.clone()
named = file.clone("twin.txt")
seen["clones"] = [clone.id != file.id, clone.filename, clone.open("r").read().decode()]
seen["named clone"] = [named.filename, named.open("r").read().decode(), len(named.versions.list())]

empty = bucket.files.create("empty")
seen["empty"] = [empty.filename, bool(empty.access_token), empty.open("r").read().decode()]

begin = time.monotonic()
fetched = bucket.files.from_url(sys.argv[1], filename="fetched")
seen["from_url seconds"] = time.monotonic() - begin
seen["from_url bytes"] = len(fetched.open("r").read())
with file.open("w") as handle:
    handle.from_url(sys.argv[2])
seen["handle from_url"] = file.open("r").read().decode()

for what, call in {
    "unknown bucket": lambda: client.buckets[999999],
    "unknown file": lambda: bucket.files[999999],
    "unknown backend": lambda: client.buckets.create(name="x", backend="nowhere"),
}.items():
    try:
        call()
    except renga.errors.APIError as error:
        seen[what] = [error.response.status_code, sorted(error.response.json())]

print(json.dumps(seen))
