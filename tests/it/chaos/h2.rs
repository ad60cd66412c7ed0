//! What upstreams do over HTTP/2. It needs TLS: without it no client asks for HTTP/2.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use axum::http::{Request, Response};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::line::Line;
use super::run::Run;
use super::scale::Scale;
use crate::support::recorder::Recorder;
use crate::support::upstream::frames;

/// How an answer ends.
#[derive(Clone, Copy)]
enum End {
    Whole,
    /// After half of it, the stream is reset.
    Reset,
    /// After half of it, the connection is closed, with all that go over it.
    Closed,
    /// Nothing but a reset comes.
    Refused,
}

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    let cases = [
        ("HTTP/2: 64 streams at once", End::Whole, 64, ("whole", "complete")),
        ("HTTP/2: streams that are reset", End::Reset, 8, ("broken off", "upstream error")),
        ("HTTP/2: connections that are closed", End::Closed, 1, ("broken off", "upstream error")),
        ("HTTP/2: streams that are refused", End::Refused, 8, ("502", "upstream error")),
    ];
    let line = |(case, end, at_once, (client, trace)): (&str, End, usize, (&str, &str))| {
        let requests = scale.of(if at_once == 64 { 64 } else { 20 }).max(at_once);
        let (url, certificate) = upstream(end);
        let path = certificate.path().to_str().unwrap();
        let mut run = Run::with(case, Recorder::start_with(&url, &[("SSL_CERT_FILE", path)]));
        run.ask(requests, at_once);
        run.end().expect(&[(client, requests)], &[(trace, requests)])
    };
    cases.map(line).into()
}

/// A server that speaks nothing but HTTP/2: its base URL, and the certificate that a client must trust.
fn upstream(end: End) -> (String, NamedTempFile) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut certificate = NamedTempFile::new().unwrap();
    certificate.write_all(key.cert.pem().as_bytes()).unwrap();
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
    let mut tls = tls.unwrap().with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], private).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), socket, end));
            }
        });
    });
    (url, certificate)
}

/// Serves a connection until its client closes it or an answer does.
async fn serve(acceptor: TlsAcceptor, socket: TcpStream, end: End) {
    let Ok(socket) = acceptor.accept(socket).await else { return };
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let close = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = close.notified() => return,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let close = close.clone();
        tokio::spawn(async move {
            // Fails where the client has left.
            let _ = answer(request, respond, end, &close).await;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    end: End,
    close: &Notify,
) -> Result<(), h2::Error> {
    let end = if request.headers().contains_key("x-fault") { end } else { End::Whole };
    let mut body = request.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    if matches!(end, End::Refused) {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    }
    let head = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    let mut stream = respond.send_response(head, false)?;
    let (first, rest) = (frames()[..4].concat(), frames()[4..].concat());
    stream.send_data(first.into(), false)?;
    // What is sent has left before the end comes.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    match end {
        End::Whole => stream.send_data(rest.into(), true)?,
        End::Closed => close.notify_one(),
        End::Reset | End::Refused => stream.send_reset(Reason::INTERNAL_ERROR),
    }
    Ok(())
}
