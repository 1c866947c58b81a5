//! What the relay answers over HTTP: one file per route.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::app::App;

mod healthz;
mod metrics;
mod readyz;
mod root;
mod session;

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(root::get))
        .route("/healthz", get(healthz::OK))
        .route("/readyz", get(readyz::get))
        .route("/metrics", get(metrics::get))
        .route("/v1/session", get(session::get))
        .with_state(app)
}
