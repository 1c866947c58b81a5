//! Rules for PINs, and the key that is derived from one.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::entry::keys::Secret;
use crate::replica::error::Error;
use crate::watch::Invalid;

/// Bytes of the salt.
pub(super) const SALT_BYTES: usize = 16;

/// Fewest and most characters of a PIN. A million guesses is the least that a guesser with the keychain's secret must try.
const CHARS: std::ops::RangeInclusive<usize> = 6..=128;

/// Memory in KiB, passes and lanes: the memory and passes that RFC 9106 §4 recommends where memory is short, in one lane, as a
/// phone computes a PIN on one core. Above the least of OWASP's password storage cheat sheet (19 MiB, 2 passes).
const ARGON2: (u32, u32, u32) = (64 * 1_024, 3, 1);

/// PINs of six digits that people choose most, beside those that a rule below finds (Markert et al., 'This PIN can be easily
/// guessed', IEEE S&P 2020, table 3; keypad patterns).
const COMMON: [&str; 8] = ["112233", "789456", "159753", "147258", "147852", "159357", "258456", "520131"];

/// A PIN that was stretched with Argon2id. Costs as much again for every guess.
pub(super) type Stretched = Secret;

/// Checks that a PIN is worth its wait.
///
/// # Errors
/// [`Error::Invalid`] if it is too short or too long, counts up or down, repeats itself, or is among the most common.
pub(super) fn check(pin: &str) -> Result<(), Error> {
    let chars: Zeroizing<Vec<u32>> = Zeroizing::new(pin.chars().map(u32::from).collect());
    let refuse = |problem: &str, remedy: &str| Err(Invalid::new("pin", problem, remedy).into());
    if !CHARS.contains(&chars.len()) {
        return refuse(
            "must have at least six digits, and at most 128",
            "choose six digits or more, or a sentence",
        );
    }
    if is_run(&chars) || repeats(&chars) || COMMON.contains(&pin) {
        return refuse(
            "is among the first that anybody tries, such as 000000, 123456, 121212, 123123 or 112233",
            "choose digits that do not follow a pattern",
        );
    }
    Ok(())
}

/// Whether each character follows the one before by the same step, as in 000000, 123456, 890123 and 086420.
fn is_run(chars: &[u32]) -> bool {
    let step = |pair: &[u32]| match pair {
        // In digits 0 follows 9.
        [a, b] if is_digit(*a) && is_digit(*b) => (b + 10 - a) % 10,
        [a, b] => b.wrapping_sub(*a),
        _ => 0,
    };
    let mut steps = chars.windows(2).map(step);
    let first = steps.next();
    steps.all(|step| Some(step) == first)
}

fn is_digit(char: u32) -> bool {
    (u32::from('0')..=u32::from('9')).contains(&char)
}

/// Whether it is nothing but a group of up to three characters, over and over.
fn repeats(chars: &[u32]) -> bool {
    (1..=3).any(|len| chars.iter().zip(chars.iter().skip(len)).all(|(a, b)| a == b))
}

/// Stretches a PIN.
///
/// # Errors
/// [`Error::Kind`] if Argon2 does not take it, which no PIN that was checked causes.
pub(super) fn stretched(pin: &str, salt: &[u8; SALT_BYTES]) -> Result<Stretched, Error> {
    #[cfg(test)]
    STRETCHED.with(|count| count.set(count.get() + 1));
    let (memory, passes, lanes) = ARGON2;
    let mut out = Secret([0; 32]);
    let unusable = |why: argon2::Error| Error::Kind(format!("this PIN cannot be used: {why}"));
    let params = Params::new(memory, passes, lanes, Some(out.0.len())).map_err(unusable)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(pin.as_bytes(), salt, &mut out.0).map_err(unusable)?;
    Ok(out)
}

#[cfg(test)]
thread_local! {
    /// How many PINs this thread has stretched.
    pub(super) static STRETCHED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn short_and_guessable_pins_are_refused_with_words() {
        let refused = |pin: &str| check(pin).err().map(|why| why.to_string());
        for pin in ["", "1", "1234", "83712", "éééé1"] {
            assert!(refused(pin).unwrap().contains("at least six digits"), "{pin}");
        }
        for pin in [
            "000000",
            "999999",
            "123456",
            "654321",
            "890123",
            "135791",
            "086420",
            "121212",
            "123123",
            "1234567890",
            "12121212",
            "112233",
            "159753",
            "abcdef",
            "zzzzzz",
            "abcabc",
        ] {
            assert!(refused(pin).unwrap().contains("first that anybody tries"), "{pin}");
        }
        for pin in ["271828", "314159", "836415", "12345678901234567890123a", "the lamp is out again"] {
            assert_eq!(refused(pin), None, "{pin}");
        }
        assert!(refused(&"27".repeat(65)).unwrap().contains("at most 128"));
    }
}
