//! The network, as the driver sees it: whole binary messages both ways.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::base::limits;

/// A future that can be sent between threads.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to relays.
pub trait Transport: Send + Sync {
    /// Connects to the relay at `url`.
    ///
    /// # Errors
    /// [`TransportError`] if nobody answers there.
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>>;
}

/// One connection. Dropping it closes it.
pub trait Connection: Send {
    /// Sends one message; waits while the other side is slow.
    ///
    /// # Errors
    /// [`TransportError`] if the connection is gone.
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>>;

    /// The next message, empty if it is but a sign of life; none when the other side has closed. May be dropped and called again without losing one.
    ///
    /// # Errors
    /// [`TransportError`] if the connection broke.
    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>>;
}

/// The network failed. Nothing is lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// WebSocket over TCP (`ws://`) or TLS (`wss://`).
#[derive(Clone)]
pub struct WebSocketTransport {
    tls: Arc<rustls::ClientConfig>,
}

impl WebSocketTransport {
    /// Trusts these certificates too (DER), beside the public web's: for a town that keeps its own authority.
    ///
    /// # Errors
    /// [`TransportError`] if one of them is no certificate.
    pub fn trusting(certificates: &[Vec<u8>]) -> Result<Self, TransportError> {
        let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for certificate in certificates {
            let added = roots.add(rustls::pki_types::CertificateDer::from(certificate.clone()));
            added.map_err(|e| TransportError(format!("this is no certificate to trust: {e}")))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| TransportError(e.to_string()))?;
        Ok(Self { tls: Arc::new(builder.with_root_certificates(roots).with_no_client_auth()) })
    }
}

impl Default for WebSocketTransport {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "see its text")]
        Self::trusting(&[]).expect("the public roots alone work because they come with the library")
    }
}

impl Transport for WebSocketTransport {
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let config = WebSocketConfig::default()
                .max_message_size(Some(limits::FRAME_BYTES_MAX))
                .max_frame_size(Some(limits::FRAME_BYTES_MAX));
            let connector = Some(Connector::Rustls(Arc::clone(&self.tls)));
            let connected =
                tokio_tungstenite::connect_async_tls_with_config(url, Some(config), true, connector).await;
            let (stream, _) = connected.map_err(|e| TransportError(e.to_string()))?;
            let connection: Box<dyn Connection> = Box::new(WebSocket(stream));
            Ok(connection)
        })
    }
}

struct WebSocket(
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
);

impl Connection for WebSocket {
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let sent = self.0.send(Message::Binary(message.into())).await;
            sent.map_err(|e| TransportError(e.to_string()))
        })
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            loop {
                match self.0.next().await {
                    None | Some(Ok(Message::Close(_))) => return Ok(None),
                    Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes.into())),
                    // The library answers pings by itself; text has no meaning here.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(Some(Vec::new())),
                    Some(Ok(Message::Text(_) | Message::Frame(_))) => {}
                    Some(Err(why)) => return Err(TransportError(why.to_string())),
                }
            }
        })
    }
}
