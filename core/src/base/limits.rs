//! Every ceiling, with its unit and its reason. A peer that needs more is refused (PROTOCOL.md §9).

/// Bytes of an entry's signed part. A header with the most roll heads allowed takes about 1,100.
pub const SIGNED_BYTES_MAX: usize = 2_048;

/// Bytes of an entry's body: a long report with its history fits 100 times; media travel as chunks beside entries.
pub const BODY_BYTES_MAX: usize = 256 * 1_024;

/// Bytes of a decompressed plaintext: bounds what a compressed bomb can occupy.
pub const PLAINTEXT_BYTES_MAX: usize = 1_024 * 1_024;

/// Roll heads an entry may cite. More would mean 16 coordinators who never heard of each other.
pub const ROLL_HEADS_MAX: usize = 16;

/// Operations of one Automerge change: a whole form is under 100.
pub const CHANGE_OPERATIONS_MAX: usize = 50_000;

/// Rows of roles or of compartments in a template.
pub const TEMPLATE_ROWS_MAX: usize = 32;

/// Bytes of a name in a template.
pub const TEMPLATE_NAME_BYTES_MAX: usize = 64;

/// Devices that one roll operation hands keys to. With the two keys of a volunteer a grant takes at most 156 bytes: as
/// many as fit into a body.
pub const GRANTS_MAX: usize = 1_600;

/// Epochs whose keys one roll operation hands out: the bits of a mask.
pub const GRANTED_EPOCHS_MAX: usize = 32;

/// Watermarks of one removal, of at most 82 bytes each: the devices of one member in 6 compartments, and room.
pub const WATERMARKS_MAX: usize = 512;

/// Devices that one member may have at a time. More would make every rotation large.
pub const DEVICES_MAX: usize = 16;

/// Entries of the roll that a member who does not govern may write after the admission that gives their role. Twenty years of a
/// phone that goes on as another device twice a month take 1,000 (a certificate and a certify each), and as many are left for
/// shreds of the member's own reports.
pub const MEMBER_ENTRIES_MAX: u64 = 2_048;

/// Bytes of these entries. A certify with 32 keys takes about 3,000, a shred of one report about 1,000.
pub const MEMBER_BYTES_MAX: u64 = 4 * 1_024 * 1_024;

/// Entries of the roll that a member who governs may write after the admission that gives their role: nine a day for ten years.
/// A removal is taken beyond that, too.
pub const GOVERNING_ENTRIES_MAX: u64 = 32_768;

/// Bytes of these entries. Among 500 devices a removal takes about 75,000 bytes and a monthly renewal of all keys 5 MB a year.
pub const GOVERNING_BYTES_MAX: u64 = 48 * 1_024 * 1_024;

/// Entries of a roll that a newcomer takes: three members who govern fill it, or 63 others.
pub const ROLL_ENTRIES_MAX: usize = 131_072;

/// Bytes of a roll that a newcomer takes: four members who govern fill it, or 48 others.
pub const ROLL_BYTES_MAX: usize = 192 * 1_024 * 1_024;

/// Settings in one policy operation.
pub const SETTINGS_MAX: usize = 64;

/// Entries that one operation accepts.
pub const ACCEPTED_MAX: usize = 1_024;

/// Entries that one operation holds; holds that one operation ends.
pub const HELD_MAX: usize = 1_024;

/// Decisions after which what a member proposed before does not count any more.
pub const PROPOSAL_DECISIONS_MAX: usize = 32;

/// Entries that one operation shreds.
pub const SHREDDED_MAX: usize = 512;

/// Certificates carried by one admission.
pub const CERTIFICATES_MAX: usize = 16;

/// Bytes of one frame on the wire: one largest entry always fits.
pub const FRAME_BYTES_MAX: usize = 512 * 1_024;

/// Bytes of entries a sender puts into one frame before it starts the next.
pub const FRAME_ENTRIES_BYTES: usize = 192 * 1_024;

/// Entries in one frame: bounds the work of one durable write.
pub const FRAME_ENTRIES_MAX: usize = 512;

/// Pushed frames under way before the first is acknowledged: keeps the wire busy over a slow round trip.
pub const PUSH_FRAMES_IN_FLIGHT_MAX: usize = 4;

/// Entries a phone keeps that wait for a predecessor or a roll operation. An honest relay causes a handful.
pub const WAITING_ENTRIES_MAX: usize = 1_024;

/// Bytes of the entries that wait: an old phone can hold and judge them at every frame.
pub const WAITING_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// Logs named in one frame, of at most 82 bytes each: 500 devices in 6 compartments, and room.
pub const LOG_HEADS_MAX: usize = 6_000;

/// Hashes of a consistency proof: two per level of a tree of 2^40 arrivals.
pub const PROOF_HASHES_MAX: usize = 80;

/// Characters of a reason in a frame.
pub const REASON_CHARS_MAX: usize = 400;

/// Mailboxes of one group at a relay: more open invitations than a coordinator can keep an eye on.
pub const MAILBOXES_MAX: usize = 256;

/// Milliseconds that an invitation may be open: 30 days. One that lies about for longer has been forgotten.
pub const INVITATION_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;

/// Bytes of a relay's address in an invitation. With a longer one the code no longer suits an old camera.
pub const RELAY_ADDRESS_BYTES_MAX: usize = 128;

/// Characters of a link behind `lamppost:`: a request has 367, an invitation with the longest address 317.
pub const LINK_CHARS_MAX: usize = 384;

/// Bytes of a sealed knock: a certificate and a countersignature take about 610.
pub const KNOCK_BYTES_MAX: usize = 2 * 1_024;

/// Bytes of a sealed answer to a knock: a reason, padded, or a countersignature.
pub const ANSWER_BYTES_MAX: usize = 1_024;

/// Bytes of the reason in an answer: 200 characters in any script.
pub const ANSWER_REASON_BYTES_MAX: usize = 800;

/// Knocks in one frame, of at most 2,131 bytes each.
pub const KNOCKS_MAX: usize = 64;

/// Bytes of a file that travels beside entries: a photo of a good phone takes 3 to 12 MiB.
pub const FILE_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Bytes of a file in one chunk: over a link that carries 10 kB/s and is cut every ten seconds, one still arrives.
pub const CHUNK_BYTES: usize = 64 * 1_024;

/// Chunks of one file: of the largest, padded by at most an eighth.
pub const FILE_CHUNKS_MAX: usize = 288;

/// Bytes of a media type such as `image/jpeg`.
pub const MEDIA_TYPE_BYTES_MAX: usize = 64;

/// Chunks named in one frame, of 34 bytes each: two of the largest files.
pub const CHUNK_NAMES_MAX: usize = 576;

/// Chunks under way before the first is answered.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 4;

// Relations the protocol leans on: a broken one does not compile.
const _: () = assert!(SIGNED_BYTES_MAX + BODY_BYTES_MAX + 64 < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_ENTRIES_BYTES + SIGNED_BYTES_MAX + BODY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(GRANTS_MAX * 156 < BODY_BYTES_MAX);
const _: () = assert!(WATERMARKS_MAX * 82 + 64 < BODY_BYTES_MAX / 4);
const _: () = assert!(ACCEPTED_MAX * 34 + 64 < BODY_BYTES_MAX);
const _: () = assert!(GRANTED_EPOCHS_MAX <= u32::BITS as usize);
const _: () = assert!(LOG_HEADS_MAX * 82 + 64 < FRAME_BYTES_MAX);
const _: () = assert!(ROLL_HEADS_MAX * 34 + 400 < SIGNED_BYTES_MAX);
const _: () = assert!(KNOCKS_MAX * (KNOCK_BYTES_MAX + 83) + 64 < FRAME_BYTES_MAX);
const _: () = assert!(ANSWER_REASON_BYTES_MAX + 32 <= ANSWER_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < PLAINTEXT_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES + 16 + 64 < FRAME_BYTES_MAX);
const _: () = assert!(FILE_CHUNKS_MAX * CHUNK_BYTES >= FILE_BYTES_MAX + FILE_BYTES_MAX / 8);
const _: () = assert!(CHUNK_NAMES_MAX * 34 + 64 < FRAME_BYTES_MAX);
