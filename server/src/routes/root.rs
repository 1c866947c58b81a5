//! `GET /`: says to a person with a browser what this is.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::State;

use crate::app::App;

pub fn get(State(app): State<Arc<App>>) -> Ready<String> {
    ready(format!(
        "This is a Lamppost relay. It keeps and forwards what watch groups' phones encrypt, and cannot read it. \
         The app connects to /v1/session and knows this relay as {}.\n",
        app.relay.id()
    ))
}
