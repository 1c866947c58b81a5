//! The sheet's own words. Codes have their labels in the catalogues.

/// A language that a sheet can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Spanish.
    Spanish,
}

impl Language {
    /// The language of a BCP 47 tag (`es`, `es-MX`); English if it is no Spanish.
    pub fn of(tag: &str) -> Self {
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        if primary.eq_ignore_ascii_case("es") { Self::Spanish } else { Self::English }
    }

    /// Its BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Spanish => &SPANISH,
        }
    }
}

pub(super) struct Words {
    pub purpose: &'static str,
    pub made: &'static str,
    pub destroy_by: &'static str,
    pub policy_decides: &'static str,
    pub revision: &'static str,
    pub events: &'static str,
    pub reports_behind: &'static str,
    pub behaviours: &'static str,
    pub several_behaviours: &'static str,
    pub more_events: &'static str,
    pub open_facts: &'static str,
    pub tips: &'static str,
    pub when: &'static str,
    pub place: &'static str,
    pub what_happened: &'static str,
    pub what: &'static str,
    pub how_many: &'static str,
    pub total: &'static str,
    pub ledger_title: &'static str,
    pub ledger_says: &'static str,
    pub kept: &'static str,
    pub recalled: &'static str,
    pub unanswered: &'static str,
    pub open: &'static str,
    pub closed: &'static str,
    pub not_stated: &'static str,
    pub closed_is_not_fixed: &'static str,
}

static ENGLISH: Words = Words {
    purpose: "Purpose",
    made: "Made",
    destroy_by: "Destroy by",
    policy_decides: "as the policy says",
    revision: "Revision",
    events: "Events",
    reports_behind: "Reports behind them",
    behaviours: "What was seen",
    several_behaviours: "An event may show several of these.",
    more_events: "more events are in the table that belongs to this sheet.",
    open_facts: "What the reports disagree about",
    tips: "These are tips of neighbors about what happened. They accuse nobody. ▮▮▮ stands for words that were taken out.",
    when: "When",
    place: "Where",
    what_happened: "What happened",
    what: "What",
    how_many: "How many",
    total: "All reports",
    ledger_title: "What became of our reports",
    ledger_says: "Each report is counted once, by how far it got. As of",
    kept: "Not handed to the liaison",
    recalled: "Called back before there was an answer",
    unanswered: "Handed over, no answer yet",
    open: "Answered, open",
    closed: "Closed",
    not_stated: "not stated",
    closed_is_not_fixed: "Closed is not the same as fixed: whoever reported it may contest the outcome.",
};

static SPANISH: Words = Words {
    purpose: "Finalidad",
    made: "Fecha",
    destroy_by: "Destruir antes de",
    policy_decides: "según la política",
    revision: "Revisión",
    events: "Hechos",
    reports_behind: "Avisos en los que se basan",
    behaviours: "Qué se vio",
    several_behaviours: "Un hecho puede mostrar varios de estos.",
    more_events: "hechos más están en la tabla que acompaña a esta hoja.",
    open_facts: "En qué no coinciden los avisos",
    tips: "Son avisos de vecinos sobre lo que pasó. No acusan a nadie. ▮▮▮ está en lugar de palabras que se quitaron.",
    when: "Cuándo",
    place: "Dónde",
    what_happened: "Qué pasó",
    what: "Qué",
    how_many: "Cuántos",
    total: "Todos los avisos",
    ledger_title: "Qué fue de nuestros avisos",
    ledger_says: "Cada aviso se cuenta una vez, según hasta dónde llegó. Al",
    kept: "No entregados al enlace",
    recalled: "Retirados antes de tener respuesta",
    unanswered: "Entregados, sin respuesta todavía",
    open: "Respondidos, abiertos",
    closed: "Cerrados",
    not_stated: "no se indicó",
    closed_is_not_fixed: "Cerrado no es lo mismo que resuelto: quien avisó puede impugnar el resultado.",
};
