//! `GET /readyz`: whether pushes are taken. 503 means: send no new phones here, and look at the log. Groups that are damaged
//! fail alone, so the answer stays 200 and counts them.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::{App, Stage};

pub fn get(State(app): State<Arc<App>>) -> Ready<(StatusCode, String)> {
    ready(answer(&app))
}

fn answer(app: &App) -> (StatusCode, String) {
    let unavailable = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    if app.is_ready() && !app.has_room() {
        unavailable("the disk is nearly full: entries can be read, and none are taken\n")
    } else if app.is_ready() {
        match app.relay.damaged_groups().len() {
            0 => (StatusCode::OK, "ready\n".to_owned()),
            damaged => (
                StatusCode::OK,
                format!("ready; groups that are damaged and fail alone: {damaged}; see the log\n"),
            ),
        }
    } else if *app.stage.borrow() == Stage::Running {
        unavailable("the store cannot be written: see the log\n")
    } else {
        unavailable("shutting down\n")
    }
}
