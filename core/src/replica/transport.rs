//! The network, as the driver sees it: whole binary messages both ways.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::base::{address, limits};

/// A future that can be sent between threads.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to relays.
pub trait Transport: Send + Sync {
    /// Connects to the relay at `url`.
    ///
    /// # Errors
    /// [`TransportError::Network`] if nobody answers there, [`TransportError::NoSuchName`] if its name is not known,
    /// [`TransportError::Address`] if it is no relay's address.
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>>;
}

/// One connection. Dropping it closes it.
pub trait Connection: Send {
    /// Sends one message; waits while the other side is slow. Where it turns out that the connection is gone, `receive` may say
    /// so in place of this, after what the other side had to say.
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

/// Why there is no connection, or not any more. Nothing is lost by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The network failed: it is worth trying again.
    #[error("{0}")]
    Network(String),
    /// Nobody knows the name in the address: it is mistyped, or new. Some phones say so without a network too.
    #[error("there is no such name as {0}")]
    NoSuchName(String),
    /// The address leads to no relay, and will not unless a person changes it.
    #[error("{0}")]
    Address(String),
}

/// WebSocket over TLS (`wss://`), or over TCP (`ws://`) to this machine alone.
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
            added.map_err(|e| TransportError::Network(format!("this is no certificate to trust: {e}")))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| TransportError::Network(e.to_string()))?;
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
            let url = address::checked(url).map_err(|why| TransportError::Address(why.to_string()))?;
            let url = url.as_str();
            let config = WebSocketConfig::default()
                .max_message_size(Some(limits::FRAME_BYTES_MAX))
                .max_frame_size(Some(limits::FRAME_BYTES_MAX));
            let connector = Some(Connector::Rustls(Arc::clone(&self.tls)));
            let connected =
                tokio_tungstenite::connect_async_tls_with_config(url, Some(config), true, connector).await;
            let (stream, _) = connected.map_err(|e| not_connected(url, &e))?;
            let connection: Box<dyn Connection> = Box::new(WebSocket { stream, broken: None });
            Ok(connection)
        })
    }
}

fn not_connected(url: &str, why: &tungstenite::Error) -> TransportError {
    if let tungstenite::Error::Io(why) = why
        && is_unknown_name(&why.to_string())
    {
        let host = url.parse::<tungstenite::http::Uri>().ok();
        let host = host.and_then(|url| url.host().map(str::to_owned));
        return TransportError::NoSuchName(host.unwrap_or_else(|| url.to_owned()));
    }
    if let tungstenite::Error::Http(answer) = why {
        let status = answer.status();
        // So do proxies answer while the relay behind them restarts or is full.
        let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        if !passes {
            return TransportError::Address(format!(
                "there is no relay at this path, the answer was {status}"
            ));
        }
    }
    if matches!(why, tungstenite::Error::Url(_) | tungstenite::Error::HttpFormat(_)) {
        return TransportError::Address(why.to_string());
    }
    TransportError::Network(why.to_string())
}

/// What the standard library says when a name could not be looked up. It gives no kind, and the resolver's own words
/// after this.
const LOOKUP_FAILED: &str = "failed to lookup address information";

/// What resolvers say when they could not ask: glibc and Android, musl.
const COULD_NOT_ASK: [&str; 2] = ["Temporary failure in name resolution", "Try again"];

fn is_unknown_name(why: &str) -> bool {
    why.starts_with(LOOKUP_FAILED) && !COULD_NOT_ASK.iter().any(|words| why.contains(words))
}

struct WebSocket {
    stream: tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
    /// Why nothing can be sent any more. The other side may have said a better reason before it hung up: that is heard first.
    broken: Option<String>,
}

impl Connection for WebSocket {
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if self.broken.is_none()
                && let Err(why) = self.stream.send(Message::Binary(message.into())).await
            {
                self.broken = Some(why.to_string());
            }
            Ok(())
        })
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            loop {
                match self.stream.next().await {
                    None | Some(Ok(Message::Close(_))) => {
                        return self.broken.take().map_or(Ok(None), |why| Err(TransportError::Network(why)));
                    }
                    Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes.into())),
                    // The library answers pings by itself; text has no meaning here.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(Some(Vec::new())),
                    Some(Ok(Message::Text(_) | Message::Frame(_))) => {}
                    Some(Err(why)) => return Err(TransportError::Network(why.to_string())),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn failure(url: &str) -> TransportError {
        match WebSocketTransport::default().connect(url).await {
            Ok(_) => panic!("{url} is connected"),
            Err(why) => why,
        }
    }

    #[tokio::test]
    async fn an_address_that_is_no_relays_is_told_from_a_bad_network() {
        for url in ["http://127.0.0.1:1/v1/session", "relay.example.org/v1/session", "", "ws://", "ws://a b/"]
        {
            assert!(matches!(failure(url).await, TransportError::Address(_)), "{url}");
        }
        // Its name is not looked up, and nothing is sent.
        for url in ["ws://relay.example.invalid/v1/session", "WS://198.51.100.1/v1/session"] {
            assert!(
                matches!(failure(url).await, TransportError::Address(why) if why.contains("not encrypted"))
            );
        }
        assert!(matches!(failure("ws://127.0.0.1:1/v1/session").await, TransportError::Network(_)));
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_told_from_a_resolver_that_cannot_be_asked() {
        // Never registered (RFC 6761 §6.4). A machine without a resolver cannot tell.
        match failure("wss://relay.example.invalid/v1/session").await {
            TransportError::NoSuchName(host) => assert_eq!(host, "relay.example.invalid"),
            TransportError::Network(why) => assert!(why.contains("Temporary failure"), "{why}"),
            why @ TransportError::Address(_) => panic!("{why}"),
        }
        for (says, unknown) in [
            ("Name or service not known", true),
            ("No address associated with hostname", true),
            ("nodename nor servname provided, or not known", true),
            ("Temporary failure in name resolution", false),
            ("Try again", false),
        ] {
            let why = std::io::Error::other(format!("{LOOKUP_FAILED}: {says}"));
            let why = not_connected("wss://relay.example.org/v1/session", &tungstenite::Error::Io(why));
            let told = why == TransportError::NoSuchName("relay.example.org".to_owned());
            assert_eq!(told, unknown, "{says}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let why = not_connected("ws://127.0.0.1:1/", &tungstenite::Error::Io(refused));
        assert!(matches!(why, TransportError::Network(_)));
    }

    #[tokio::test]
    async fn an_answer_without_a_relay_is_the_address_and_a_proxy_without_its_relay_is_the_network() {
        for (status, is_address) in [
            ("404 Not Found", true),
            ("200 OK", true),
            ("503 Service Unavailable", false),
            ("502 Bad", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/v1/session", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                let _ = socket.read(&mut [0; 4096]).await.unwrap();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.unwrap();
            });
            let why = failure(&url).await;
            assert_eq!(matches!(why, TransportError::Address(_)), is_address, "{status}: {why}");
            server.await.unwrap();
        }
    }
}
