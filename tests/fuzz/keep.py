"""keep.py FROM TO: replaces the corpus TO by the smallest files of FROM, as many as are replayed with every test run."""

import sys
from pathlib import Path

FILES_MAX = 300
BYTES_MAX = 1 << 20

source, corpus = map(Path, sys.argv[1:])
files = sorted(source.iterdir(), key=lambda file: (file.stat().st_size, file.name))
kept, total = {}, 0
# From all sizes: the smallest files alone would be the shallowest.
step = max(1, -(-len(files) // FILES_MAX))
for file in [file for start in range(step) for file in files[start::step]]:
    size = file.stat().st_size
    if len(kept) < FILES_MAX and total + size <= BYTES_MAX:
        kept[file.name] = file.read_bytes()
        total += size
if not kept:
    sys.exit(f"nothing to keep in {source}")
for file in corpus.iterdir():
    file.unlink()
for name, content in kept.items():
    (corpus / name).write_bytes(content)
print(f"{corpus.name}: kept {len(kept)} of {len(files)} files, {total} bytes")
