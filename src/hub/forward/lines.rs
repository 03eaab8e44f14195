//! Sending lines over a connection to receivers that do not answer. Not an output.
//!
//! A connection is made for each delivery and closed for writing behind the lines; that the receiver closes it in turn is
//! the only sign that it read them.

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// `host:port`; an IPv6 address is put into brackets.
pub fn address(host: &str, port: i64) -> Result<String, String> {
    let port = u16::try_from(port).ok().filter(|port| *port > 0).ok_or("port: it must be 1 to 65535")?;
    let bare = host.contains(':') && !host.starts_with('[');
    Ok(if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

async fn through<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, lines: &[u8]) -> std::io::Result<()> {
    stream.write_all(lines).await?;
    stream.shutdown().await?;
    // Whatever it says, it is read until it closes.
    let mut said = [0; 1024];
    loop {
        match stream.read(&mut said).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It closed without TLS' own farewell.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Sends lines, over TLS where a configuration is given.
pub async fn send(address: &str, tls: Option<&Arc<ClientConfig>>, lines: &[u8]) -> std::io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return through(stream, lines).await };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    through(TlsConnector::from(tls.clone()).connect(name, stream).await?, lines).await
}
