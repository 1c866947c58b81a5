//! Vectors of section 3.6: files, their chunks and manifests.

use lamppost_core::base::hash::sha256;
use lamppost_core::base::{ChunkId, cbor};
use lamppost_core::entry::chunk::{Manifest, open_file, seal_file};
use lamppost_core::entry::keys::Secret;
use serde_json::{Value, json};

use crate::town::{flip, hex};

/// Bytes that a second implementation can make itself: 64 KiB in hexadecimal would help nobody.
fn file(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 256).to_le_bytes()[0]).collect()
}

pub fn media() -> Value {
    let key = Secret([0x3d; 32]);
    let original = sha256(b"as the camera took it");
    let lengths = [1, 1_000, 65_536, 65_537, 200_000];
    let files = lengths.map(|length| {
        let (manifest, chunks) =
            seal_file(key.clone(), &file(length), "image/jpeg", (length != 1_000).then_some(original))
                .unwrap();
        let opened = open_file(&manifest, chunks.iter().map(|chunk| chunk.ciphertext.as_slice()));
        assert_eq!(opened.unwrap(), file(length));
        json!({ "length": length, "manifest": hex(&manifest.to_bytes()) })
    });
    let (manifest, chunks) = seal_file(key, &file(1_000), "image/jpeg", None).unwrap();
    let ciphertext = chunks[0].ciphertext.clone();
    let bad_manifests = [
        ("of a later version", Manifest { version: 2, ..manifest.clone() }),
        ("a chunk too many", {
            let chunks = vec![manifest.chunks[0], ChunkId([1; 32])];
            Manifest { chunks, ..manifest.clone() }
        }),
        ("no chunk", Manifest { chunks: Vec::new(), ..manifest.clone() }),
        ("of nothing", Manifest { bytes: 0, ..manifest.clone() }),
        ("too large", Manifest { bytes: (16 << 20) + 1, ..manifest.clone() }),
        ("no media type", Manifest { media_type: String::new(), ..manifest.clone() }),
        ("a long media type", Manifest { media_type: "a".repeat(65), ..manifest.clone() }),
    ]
    .map(|(why, manifest)| {
        let bytes = cbor::encode(&manifest);
        assert!(Manifest::from_bytes(&bytes).is_err(), "{why}");
        json!({ "why": why, "manifest": hex(&bytes) })
    });
    let renamed =
        |ciphertext: &[u8]| Manifest { chunks: vec![ChunkId(sha256(ciphertext).0)], ..manifest.clone() };
    let altered = flip(&ciphertext, 0);
    let bad_chunks = [
        ("not what its name says", manifest.clone(), altered.clone()),
        ("altered, and named anew", renamed(&altered), altered),
        ("another key", Manifest { key: Secret([0; 32]), ..manifest.clone() }, ciphertext.clone()),
        ("another length", Manifest { bytes: 999, ..manifest.clone() }, ciphertext.clone()),
        ("another hash", Manifest { hash: original, ..manifest.clone() }, ciphertext.clone()),
    ]
    .map(|(why, manifest, ciphertext)| {
        assert!(open_file(&manifest, [ciphertext.as_slice()]).is_err(), "{why}");
        json!({ "why": why, "manifest": hex(&manifest.to_bytes()), "chunk": hex(&ciphertext) })
    });
    json!({
        "files": files,
        "opened": { "manifest": hex(&manifest.to_bytes()), "chunk": hex(&ciphertext), "length": 1_000 },
        "bad_manifests": bad_manifests,
        "bad_chunks": bad_chunks,
    })
}
