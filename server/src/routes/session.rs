//! `GET /v1/session`: the WebSocket that phones sync over.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use lamppost_core::base::limits;

use crate::app::{App, Stage};
use crate::live;

/// Bytes of the buffers of one connection. The default of 128 KiB each would cost more than all else of an idle phone.
const BUFFER_BYTES: usize = 8 * 1_024;

pub fn get(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Ready<Response> {
    ready(answer(app, upgrade))
}

fn answer(app: Arc<App>, upgrade: WebSocketUpgrade) -> Response {
    if *app.stage.borrow() != Stage::Running {
        return (StatusCode::SERVICE_UNAVAILABLE, "the relay is shutting down\n").into_response();
    }
    let Ok(permit) = Arc::clone(&app.connections).try_acquire_owned() else {
        app.metrics.turned_away.inc();
        return (StatusCode::SERVICE_UNAVAILABLE, "the relay has as many sessions as it can hold\n")
            .into_response();
    };
    upgrade
        .max_message_size(limits::FRAME_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| live::run(app, socket, permit))
}
