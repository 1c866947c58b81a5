//! Trains the dictionary that small changes are compressed with (PROTOCOL.md §3.3): on invented reports alone, so that it
//! holds nobody's words.

use lamppost_core::base::{DeviceId, DocumentId, cbor};
use lamppost_core::document::Document;
use lamppost_core::entry::plaintext::{Content, Form};
use lamppost_core::watch::codes::{self, Catalogue};
use lamppost_core::watch::{
    Annotation, Case, Kind, Observation, Outcome, Position, Response, Sealed, Substance, When,
};
use neighborhood::input;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Bytes of the dictionary.
const DICTIONARY_BYTES: usize = 12 * 1_024;

/// Reports that it is trained on; each gives a handful of changes.
const REPORTS: usize = 1_200;

/// The dictionary. The same at every call.
pub fn train() -> std::io::Result<Vec<u8>> {
    let sample = input::sample().reports;
    let said = sample.iter().flat_map(|r| [&r.observation.what_happened, &r.comment, &r.sealed.notes]);
    let words = said.flat_map(|text| text.split_whitespace()).map(str::to_owned).collect();
    let mut author = Author { rng: ChaCha20Rng::from_seed([1; 32]), words };
    let mut samples = Vec::new();
    for number in 0..REPORTS {
        let report = &sample[number % sample.len()];
        let observation = author.observation(&report.observation);
        let mut later = observation.clone();
        later.what_happened = format!("{} {}", observation.what_happened, author.text(8));
        samples.extend(author.changes(Kind::OBSERVATION, &[observation, later]));
        let sealed = author.sealed(&report.sealed);
        samples.extend(author.changes(Kind::SEALED, &[sealed]));
        if number % 4 == 0 {
            samples.extend(author.small());
        }
    }
    zstd::dict::from_samples(&samples, DICTIONARY_BYTES)
}

struct Author {
    rng: ChaCha20Rng,
    /// The words of the sample. Drawn one by one, so that the dictionary learns words and not sentences.
    words: Vec<String>,
}

impl Author {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn text(&mut self, words: usize) -> String {
        let drawn: Vec<String> = (0..words).map(|_| self.word()).collect();
        drawn.join(" ")
    }

    fn word(&mut self) -> String {
        let at = self.below(self.words.len());
        self.words[at].clone()
    }

    fn code(&mut self, catalogue: &Catalogue) -> String {
        let at = self.below(catalogue.entries().len());
        catalogue.entries()[at].code.clone()
    }

    fn when(&mut self) -> When {
        let start_ms = 1_700_000_000_000 + i64::from(self.rng.next_u32()) * 60;
        let precision = self.code(codes::precision());
        When { start_ms, end_ms: (self.below(3) == 0).then_some(start_ms + 3_600_000), precision }
    }

    /// Words of the bundled sample, under any codes there are.
    fn observation(&mut self, like: &Observation) -> Observation {
        let some = |author: &mut Self, catalogue, odds| {
            if author.below(odds) == 0 { vec![author.code(catalogue)] } else { Vec::new() }
        };
        Observation {
            when: self.when(),
            cell: format!("g250:{}:-{}", 10_000 + self.below(9_000), 30_000 + self.below(9_000)),
            location: self.code(codes::nibrs_location()),
            vantage: self.code(codes::vantage()),
            behaviours: vec![self.code(codes::behaviours())],
            basis: self.code(codes::basis()),
            activity: some(self, codes::nibrs_activity(), 3),
            flags: some(self, codes::flags(), 4),
            consent: some(self, codes::consent(), 2),
            substances: some(self, codes::substances(), 4)
                .into_iter()
                .map(|code| Substance {
                    code,
                    catalogue: input::CATALOGUE.to_owned(),
                    basis: self.code(codes::basis()),
                })
                .collect(),
            what_happened: {
                let words = 8 + self.below(25);
                self.text(words)
            },
            ..like.clone()
        }
    }

    fn sealed(&mut self, like: &Sealed) -> Sealed {
        let place = |author: &mut Self| f64::from(author.rng.next_u32()) / f64::from(u32::MAX);
        let (lat, lon) = (30.0 + 20.0 * place(self), -120.0 + 40.0 * place(self));
        Sealed {
            observation: DocumentId(self.bytes()).to_string(),
            position: Some(Position {
                lat,
                lon,
                accuracy_m: 10.0,
                method: self.code(codes::position_method()),
            }),
            address: format!("{} {} St", self.below(9_999), self.text(1)),
            notes: self.text(10),
            ..like.clone()
        }
    }

    /// One each of the kinds that say little.
    fn small(&mut self) -> Vec<Vec<u8>> {
        let text = &self.text(8);
        let other = DocumentId(self.bytes()).to_string();
        let annotation = Annotation {
            target: other.clone(),
            text: text.to_owned(),
            status: self.code(codes::annotation_status()),
        };
        let mut case = Case { title: text.to_owned(), ..Case::default() };
        case.link(other.clone(), "same place, a few minutes apart".to_owned(), hex(&self.bytes::<32>()));
        let response = Response {
            release: other,
            status: self.code(codes::response_status()),
            outcome: self.code(codes::outcome()),
            reason: text.to_owned(),
            at_ms: 1_700_000_000_000 + i64::from(self.rng.next_u32()),
        };
        let outcome = Outcome::from(&response);
        [
            self.changes(Kind::ANNOTATION, &[annotation]),
            self.changes(Kind::CASE, &[case]),
            self.changes(Kind::RESPONSE, &[response]),
            self.changes(Kind::OUTCOME, &[outcome]),
        ]
        .concat()
    }

    /// What stands in the bodies of entries that bring a document to these values, one after the other.
    fn changes<T: autosurgeon::Reconcile>(&mut self, kind: Kind, values: &[T]) -> Vec<Vec<u8>> {
        let document = DocumentId(self.bytes());
        let mut content = Document::new(DeviceId(self.bytes()));
        let changes =
            values.iter().filter_map(|value| content.write(value).expect("the shape fits because it is new"));
        let contents = changes.map(|change| Content {
            document,
            kind: kind.0,
            form: Form::CHANGE,
            bytes: change.bytes().to_vec(),
        });
        contents.map(|content| cbor::encode(&content)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
