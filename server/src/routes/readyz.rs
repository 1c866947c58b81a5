//! `GET /readyz`: whether pushes are taken. 503 means: send no new phones here, and look at the log.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::{App, Stage};

pub fn get(State(app): State<Arc<App>>) -> Ready<(StatusCode, &'static str)> {
    ready(answer(&app))
}

fn answer(app: &App) -> (StatusCode, &'static str) {
    if app.is_ready() && !app.has_room() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the disk is nearly full: entries can be read, and none are taken\n",
        )
    } else if app.is_ready() {
        (StatusCode::OK, "ready\n")
    } else if *app.stage.borrow() == Stage::Running {
        (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written: see the log\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}
