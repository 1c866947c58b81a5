//! Bytes read as a program: whatever a fuzzer writes is one, and a small change of the bytes is a small change of it.

/// A reader that never fails: behind the end there are zeros, and [`Tape::is_over`] says so.
pub struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet. Nothing is left after that.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    /// A number below `count`, which is at most 256.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.u8()) % count.max(1)
    }

    /// One of `items`.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        (!items.is_empty()).then(|| &items[usize::from(self.u8()) % items.len()])
    }

    /// True once in `odds` times.
    pub fn once_in(&mut self, odds: u8) -> bool {
        self.u8() % odds == odds - 1
    }

    /// A number that is near zero, near `around`, near the end, or anything.
    pub fn number(&mut self, around: u64) -> u64 {
        let (near, by) = (self.u8(), u64::from(self.u8()));
        match near % 8 {
            0 => by,
            1 => around.wrapping_add(by),
            2 => around.wrapping_sub(by),
            3 => u64::MAX - by,
            4 => 1_u64.wrapping_shl(u32::from(near) / 4).wrapping_add(by),
            5 => u64::from(u32::MAX) + by,
            6 => u64::from(self.u16()) << 8 | by,
            _ => around,
        }
    }

    /// Up to 255 bytes, or up to `max` after the length 255.
    pub fn blob(&mut self, max: usize) -> &'a [u8] {
        let length = match self.u8() {
            255 => usize::from(self.u16()),
            short => usize::from(short),
        };
        let (blob, rest) = self.0.split_at(length.min(max).min(self.0.len()));
        self.0 = rest;
        blob
    }

    /// 32 bytes: all alike, or as they stand.
    pub fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [self.u8(); 32];
        if bytes[0] == u8::MAX {
            bytes.iter_mut().for_each(|byte| *byte = self.u8());
        }
        bytes
    }

    /// Text, whatever the bytes are.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.blob(300)).into_owned()
    }

    /// Changes a few bytes of `bytes`, as the program says.
    pub fn bend(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(3) {
            let at = usize::from(self.u16()) % (bytes.len() + 1);
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = self.u8(),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                _ => drop(bytes.splice(at..at, self.blob(64).iter().copied())),
            }
        }
    }
}

/// Writes what [`Tape`] reads: for seeds.
#[derive(Clone, Default)]
pub struct Program(Vec<u8>);

impl Program {
    /// Appends bytes as they stand.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Appends what [`Tape::blob`] reads.
    #[must_use]
    pub fn blob(mut self, bytes: &[u8]) -> Self {
        match u8::try_from(bytes.len()) {
            Ok(short) if short < u8::MAX => self.0.push(short),
            _ => {
                self.0.push(u8::MAX);
                self.0.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        self.0.extend(bytes);
        self
    }

    /// The bytes.
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_reads_what_a_program_writes_and_never_ends_badly() {
        let bytes = Program::default().raw(&[7]).blob(b"abc").blob(&[1; 300]).done();
        let mut tape = Tape::new(&bytes);
        assert_eq!((tape.u8(), tape.blob(10), tape.blob(1_000)), (7, &b"abc"[..], &[1; 300][..]));
        assert!(tape.is_over());
        assert_eq!((tape.u8(), tape.number(9), tape.blob(9).len()), (0, 0, 0));
        tape.bend(&mut Vec::new());
    }
}
