//! `GET /v1/session`: the WebSocket that phones sync over.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lamppost_core::base::limits;

use crate::app::{App, Stage};
use crate::door::Caller;
use crate::live;
use crate::places::Address;

/// Where a proxy says whom it speaks for.
const FORWARDED: &str = "x-forwarded-for";

/// Bytes of the buffers of one connection. The default of 128 KiB each would cost more than all else of an idle phone.
const BUFFER_BYTES: usize = 8 * 1_024;

pub fn get(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Ready<Response> {
    ready(answer(app, caller, &headers, upgrade))
}

fn answer(app: Arc<App>, caller: Caller, headers: &HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if *app.stage.borrow() != Stage::Running {
        return (StatusCode::SERVICE_UNAVAILABLE, "the relay is shutting down\n").into_response();
    }
    // A proxy adds its own line or its own word at the end of the last one.
    let forwarded = headers.get_all(FORWARDED).iter().next_back().and_then(|value| value.to_str().ok());
    let address = Address::of(caller.peer, &app.settings.proxies, forwarded);
    upgrade
        .max_message_size(limits::FRAME_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| live::run(app, socket, caller, address))
}
