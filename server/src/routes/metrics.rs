//! `GET /metrics`: counters for Prometheus. For the operator: keep it from the public in the proxy.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};
use tokio::task;

use crate::app::App;
use crate::metrics::Now;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn get(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    let relay = Arc::clone(&app.relay);
    let store_bytes = task::spawn_blocking(move || relay.store_bytes()).await.unwrap_or_default();
    let (members, strangers) = app.places.counts();
    let now = Now {
        groups: app.relay.group_count(),
        damaged: app.relay.damaged_groups(),
        store_bytes,
        members,
        strangers,
        unproven: app.door.waiting(),
        pushes_waiting: app.queue.len(),
        disk_free_bytes: app.disk.free_bytes(),
    };
    let text = app.metrics.to_text(&now);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}
