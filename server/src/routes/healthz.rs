//! `GET /healthz`: the process answers. Restart it if it does not.

pub const OK: &str = "ok\n";
