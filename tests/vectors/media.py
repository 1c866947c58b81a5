"""Section 3.6: files, their chunks and manifests."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats import array, b32, decode, demand, encode, mapping, padded, sha256, text, u8, u64

CHUNK = 65536
MANIFEST = mapping({0: u8, 1: b32, 2: u64, 3: b32, 4: text, 5: array(b32), 6: b32}, optional=(6,))


def cipher(key, index, count):
    info = b"lamppost/1/chunk" + index.to_bytes(4, "big") + count.to_bytes(4, "big")
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, None, info).derive(key))


def manifest(data):
    value = decode(data)
    demand(MANIFEST(value) and value[0] == 1, "no manifest of this version")
    demand(0 < value[2] <= 16 << 20, "its size")
    demand(len(value[5]) == -(-padded(value[2]) // CHUNK), "its chunks")
    demand(0 < len(value[4].encode()) <= 64, "its media type")
    return value


def seal(key, file, media_type, original):
    whole = file + bytes(padded(len(file)) - len(file))
    parts = [whole[at:at + CHUNK] for at in range(0, len(whole), CHUNK)]
    chunks = [cipher(key, n, len(parts)).encrypt(bytes(12), part, None) for n, part in enumerate(parts)]
    value = {0: 1, 1: key, 2: len(file), 3: sha256(file), 4: media_type, 5: [sha256(chunk) for chunk in chunks]}
    return encode(value | ({} if original is None else {6: original}))


def open_file(data, chunks):
    value = manifest(data)
    demand(value[5] == [sha256(chunk) for chunk in chunks], "another name")
    try:
        whole = b"".join(cipher(value[1], n, len(chunks)).decrypt(bytes(12), chunk, None)
                         for n, chunk in enumerate(chunks))
    except InvalidTag:
        demand(False, "it does not open")
    file, rest = whole[:value[2]], whole[value[2]:]
    demand(len(whole) == padded(value[2]) and not any(rest) and sha256(file) == value[3], "another file")
    return file
