//! CAP (OASIS Common Alerting Protocol 1.2): a bulletin for whoever passes alerts on.
//!
//! A watch group is no emergency service, so it states no urgency, severity or certainty: each is `Unknown`. Nothing here
//! is about a person.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{text, time};
use crate::watch::check::check_time;
use crate::watch::{Bulletin, Cell, Invalid, Said, codes};

const NAMESPACE: &str = "urn:oasis:names:tc:emergency:cap:1.2";

/// One alert message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Names this message among all of the sender's; no white space, comma, `<` or `&`.
    pub identifier: String,
    /// Names the sender among all senders, such as an address on the internet; the same characters are forbidden.
    pub sender: String,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_ms: i64,
    /// Whether it is meant or a drill.
    pub status: Status,
    /// What it does to earlier messages.
    pub message: Message,
    /// What it says, once for each language; at least one.
    pub infos: Vec<Info>,
}

/// Whether an alert is meant (CAP's `status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To be acted on.
    Actual,
    /// A drill.
    Exercise,
    /// To be ignored by everybody.
    Test,
}

/// What an alert does to earlier ones (CAP's `msgType`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// It is the first.
    Alert,
    /// It replaces these.
    Update(Vec<Reference>),
    /// It takes these back.
    Cancel(Vec<Reference>),
}

/// An earlier message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its sender.
    pub sender: String,
    /// Its identifier.
    pub identifier: String,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_ms: i64,
}

/// What an alert says in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// BCP 47 tag.
    pub language: String,
    /// What it is about.
    pub category: Category,
    /// What happens, in a few words.
    pub event: String,
    /// When it is no longer to be shown, in milliseconds since the Unix epoch; none if it does not say.
    pub expires_ms: Option<i64>,
    /// Who says it, for people; empty if it does not say.
    pub sender_name: String,
    /// One line.
    pub headline: String,
    /// The text.
    pub description: String,
    /// For where; empty for everywhere.
    pub areas: Vec<Area>,
}

/// What an alert is about (CAP's `category`, those that a watch group has use for).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Public safety in general.
    Safety,
    /// Medical and public health.
    Health,
    /// Utilities, streets, lamps.
    Infra,
    /// Anything else.
    Other,
}

/// A place in words, and as public cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// In words.
    pub description: String,
    /// As public cells; may be empty.
    pub cells: Vec<Cell>,
}

/// What a bulletin does not say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Id of its document, as text.
    pub id: String,
    /// As [`Alert::sender`].
    pub sender: String,
    /// How many changes it is made of, from 1: of each there is a message, and all but the first change the first one.
    pub revision: u32,
    /// When it was changed last, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
}

impl Alert {
    /// A bulletin as an alert, in every language that it is written in.
    pub fn of(bulletin: &Bulletin, origin: &Origin) -> Self {
        let Origin { id, sender, revision, changed_ms } = origin;
        let first = || {
            vec![Reference { sender: sender.clone(), identifier: id.clone(), sent_ms: bulletin.issued_ms }]
        };
        let message = match (bulletin.cancelled, *revision) {
            (true, _) => Message::Cancel(first()),
            (false, ..=1) => Message::Alert,
            (false, _) => Message::Update(first()),
        };
        let is_first = message == Message::Alert;
        Self {
            identifier: if is_first { id.clone() } else { format!("{id}.{revision}") },
            sender: sender.clone(),
            sent_ms: if is_first { bulletin.issued_ms } else { *changed_ms },
            status: Status::Actual,
            message,
            infos: bulletin.texts.iter().map(|(language, said)| Info::of(bulletin, language, said)).collect(),
        }
    }
}

impl Info {
    fn of(bulletin: &Bulletin, language: &str, said: &Said) -> Self {
        let category = match bulletin.category.as_str() {
            "safety" => Category::Safety,
            "health" => Category::Health,
            "place" => Category::Infra,
            _ => Category::Other,
        };
        // A cell is not named in words anywhere: its own name says at least which one it is.
        let area = bulletin.cell.parse().ok().map(|cell: Cell| Area {
            description: format!("{cell}, {} m", cell.size_m()),
            cells: vec![cell],
        });
        Self {
            language: language.to_owned(),
            category,
            event: codes::bulletin_category().label(&bulletin.category, language).to_owned(),
            expires_ms: Some(bulletin.expires_ms),
            sender_name: String::new(),
            headline: said.title.clone(),
            description: said.text.clone(),
            areas: area.into_iter().collect(),
        }
    }
}

/// Writes one alert as XML in UTF-8.
///
/// # Errors
/// When a name that other programs look for is missing or has a character that CAP forbids in it, an update or cancellation
/// names nothing, or nothing is said.
pub fn alert(alert: &Alert) -> Result<Vec<u8>, Invalid> {
    validate(alert)?;
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    #[expect(clippy::expect_used, reason = "memory takes everything")]
    write(&mut writer, alert).expect("this works because writing to memory cannot fail");
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn validate(alert: &Alert) -> Result<(), Invalid> {
    check_name("identifier", &alert.identifier)?;
    check_name("sender", &alert.sender)?;
    check_time("sent_ms", alert.sent_ms)?;
    match &alert.message {
        Message::Alert => {}
        Message::Update(references) | Message::Cancel(references) => {
            if references.is_empty() {
                return Err(Invalid::new("message", "names no earlier message", "say which one it changes"));
            }
            for reference in references {
                check_name("message.identifier", &reference.identifier)?;
                check_name("message.sender", &reference.sender)?;
                check_time("message.sent_ms", reference.sent_ms)?;
            }
        }
    }
    if alert.infos.is_empty() {
        return Err(Invalid::new("infos", "is empty", "say something in at least one language"));
    }
    for info in &alert.infos {
        if info.event.trim().is_empty() {
            return Err(Invalid::new("event", "is empty", "say in a few words what it is about"));
        }
        if info.areas.iter().any(|area| area.description.trim().is_empty()) {
            return Err(Invalid::new("areas", "has no words", "say in a few words where it is"));
        }
        if let Some(expires_ms) = info.expires_ms {
            check_time("expires_ms", expires_ms)?;
        }
    }
    Ok(())
}

fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '<' | '&');
    if !name.is_empty() && !name.contains(forbidden) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        "is empty, or holds white space, a comma, < or &",
        "use letters, digits, - and @",
    ))
}

/// The elements in the order of the schema.
fn write(writer: &mut Writer<Vec<u8>>, alert: &Alert) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("alert").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|w| {
        element(w, "identifier", &alert.identifier)?;
        element(w, "sender", &alert.sender)?;
        element(w, "sent", &time_of(alert.sent_ms))?;
        element(w, "status", alert.status.name())?;
        element(w, "msgType", alert.message.name())?;
        element(w, "scope", "Public")?;
        let references = alert.message.references().iter().map(Reference::written).collect::<Vec<_>>();
        if !references.is_empty() {
            element(w, "references", &references.join(" "))?;
        }
        alert.infos.iter().try_for_each(|info| write_info(w, info))
    })?;
    Ok(())
}

fn write_info(writer: &mut Writer<Vec<u8>>, info: &Info) -> io::Result<()> {
    writer.create_element("info").write_inner_content(|w| {
        element(w, "language", &info.language)?;
        element(w, "category", info.category.name())?;
        element(w, "event", &text::line(&info.event))?;
        element(w, "urgency", "Unknown")?;
        element(w, "severity", "Unknown")?;
        element(w, "certainty", "Unknown")?;
        if let Some(expires_ms) = info.expires_ms {
            element(w, "expires", &time_of(expires_ms))?;
        }
        for (name, said) in [
            ("senderName", text::line(&info.sender_name)),
            ("headline", text::line(&info.headline)),
            ("description", text::plain(&info.description)),
        ] {
            if !said.is_empty() {
                element(w, name, &said)?;
            }
        }
        info.areas.iter().try_for_each(|area| write_area(w, area))
    })?;
    Ok(())
}

fn write_area(writer: &mut Writer<Vec<u8>>, area: &Area) -> io::Result<()> {
    writer.create_element("area").write_inner_content(|w| {
        element(w, "areaDesc", &text::line(&area.description))?;
        area.cells.iter().try_for_each(|cell| element(w, "polygon", &polygon(*cell)))
    })?;
    Ok(())
}

/// Pairs of latitude and longitude, the first one again at the end.
fn polygon(cell: Cell) -> String {
    let b = cell.bounds();
    let corners =
        [(b.south, b.west), (b.south, b.east), (b.north, b.east), (b.north, b.west), (b.south, b.west)];
    corners.map(|(lat, lon)| format!("{lat:.6},{lon:.6}")).join(" ")
}

fn element(writer: &mut Writer<Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    writer.create_element(name).write_text_content(BytesText::new(text)).map(|_| ())
}

/// CAP wants an offset in digits; `-00:00` is UTC (CAP 1.2, section 3.3.2).
fn time_of(ms: i64) -> String {
    time::in_form("%Y-%m-%dT%H:%M:%S-00:00", ms)
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Actual => "Actual",
            Self::Exercise => "Exercise",
            Self::Test => "Test",
        }
    }
}

impl Message {
    fn name(&self) -> &'static str {
        match self {
            Self::Alert => "Alert",
            Self::Update(_) => "Update",
            Self::Cancel(_) => "Cancel",
        }
    }

    fn references(&self) -> &[Reference] {
        match self {
            Self::Alert => &[],
            Self::Update(references) | Self::Cancel(references) => references,
        }
    }
}

impl Reference {
    fn written(&self) -> String {
        format!("{},{},{}", self.sender, self.identifier, time_of(self.sent_ms))
    }
}

impl Category {
    fn name(self) -> &'static str {
        match self {
            Self::Safety => "Safety",
            Self::Health => "Health",
            Self::Infra => "Infra",
            Self::Other => "Other",
        }
    }
}
