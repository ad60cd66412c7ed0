//! Upstreams behind TLS: whose certificates are trusted, and through which proxies they are reached.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::deadline::receive;
use crate::support::output::warnings_of;
use crate::support::recorder::Recorder;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Client, Message, REQUEST, read_head, read_message};

/// A server with TLS under a name, whose certificate an authority of its own has signed.
struct SecureUpstream {
    port: u16,
    /// The authority's certificate.
    authority: String,
}

fn secure(name: &str) -> SecureUpstream {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &Issuer::new(params, authority_key));
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_no_client_auth().with_single_cert(vec![signed.unwrap().der().clone()], private).unwrap();
    let tls = Arc::new(tls);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(tls.clone()).unwrap();
            // Fails where the client does not trust the certificate.
            thread::spawn(move || answer(BufReader::new(StreamOwned::new(connection, socket))));
        }
    });
    SecureUpstream { port, authority }
}

fn answer(mut stream: BufReader<StreamOwned<ServerConnection, TcpStream>>) -> io::Result<()> {
    stream.fill_buf()?;
    read_message(&mut stream);
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")?;
    stream.get_mut().flush()
}

/// A proxy that takes every name for this machine's: its address, and the heads of what it was asked for.
fn proxy() -> (String, Receiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, asked) = mpsc::channel();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let seen = seen.clone();
            thread::spawn(move || tunnel(socket, &seen));
        }
    });
    (address, asked)
}

fn tunnel(mut client: TcpStream, seen: &mpsc::Sender<Message>) -> io::Result<()> {
    let head = read_head(&mut BufReader::new(client.try_clone()?));
    let port = head.line.split([':', ' ']).nth(2).and_then(|port| port.parse().ok()).unwrap_or(0);
    // The test may be over.
    seen.send(head).ok();
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut from_server, &mut to_client));
    io::copy(&mut client, &mut server).map(drop)
}

#[test]
fn an_own_authority_is_trusted_by_flag_setting_or_variable() {
    let upstream = secure("localhost");
    let url = format!("https://localhost:{}", upstream.port);
    let start = |flags: &[&str], settings: &str, environment: &[(&str, &str)]| {
        let sandbox = Sandbox::new();
        sandbox.write("ca.pem", &upstream.authority);
        sandbox.write_home("ca.pem", &upstream.authority);
        sandbox.write_home("anyclaude.toml", settings);
        Recorder::start_service_with(sandbox, &[&["--upstream", &url], flags].concat(), environment)
    };
    let mut stranger = start(&[], "", &[]);
    assert_eq!(Client::post(&stranger.address, REQUEST).answer().status(), 502);
    let warnings = warnings_of(&stranger.stop().exits(0).stderr);
    assert!(warnings.contains("UnknownIssuer") && warnings.contains("--ca-file"), "{warnings}");
    for (flags, settings, environment) in [
        (&["--ca-file", "ca.pem"][..], "", &[][..]),
        (&[], "[recorder]\nca_file = 'ca.pem'\n", &[]),
        (&[], "", &[("SSL_CERT_FILE", "ca.pem")]),
    ] {
        let recorder = start(flags, settings, environment);
        assert_eq!(Client::post(&recorder.address, REQUEST).answer().status(), 200, "{flags:?} {settings} {environment:?}");
    }
}

#[test]
fn a_certificate_that_no_authority_can_mend_is_said_to_be_wrong() {
    let upstream = secure("gateway.example");
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &upstream.authority);
    let url = format!("https://localhost:{}", upstream.port);
    let mut recorder = Recorder::start_service(sandbox, &["--upstream", &url, "--ca-file", "ca.pem"]);
    let answer = Client::post(&recorder.address, REQUEST).answer();
    assert_eq!(answer.status(), 502);
    let hint = "its certificate must be valid now, and for the name in its address";
    assert!(answer.text().contains(hint), "{}", answer.text());
    let warnings = warnings_of(&recorder.stop().exits(0).stderr);
    assert!(warnings.contains(hint) && !warnings.contains("--ca-file"), "{warnings}");
}

#[test]
fn a_file_without_certificates_is_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.pem", "no certificate");
    let refused = |file: &str| sandbox.run(&["record", "--port", "0", "--ca-file", file]).refusal();
    insta::assert_snapshot!(["missing.pem", "empty.pem"].map(refused).concat(), @"
    exit 2: error: --ca-file missing.pem: No such file or directory (os error 2); give a PEM file, whose certificates begin with -----BEGIN CERTIFICATE-----
    exit 2: error: --ca-file empty.pem: it has no certificate; give a PEM file, whose certificates begin with -----BEGIN CERTIFICATE-----
    ");
}

#[test]
fn an_upstream_elsewhere_is_reached_through_the_proxy() {
    let upstream = secure("gateway.example");
    let (proxy, asked) = proxy();
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &upstream.authority);
    let url = format!("https://gateway.example:{}", upstream.port);
    let settings = [("HTTPS_PROXY", format!("http://me:pass@{proxy}"))];
    let environment: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let recorder = Recorder::start_service_with(sandbox, &["--upstream", &url, "--ca-file", "ca.pem"], &environment);
    assert_eq!(Client::post(&recorder.address, REQUEST).answer().status(), 200);
    let head = receive("the proxy's request", &asked);
    assert_eq!(head.line, format!("CONNECT gateway.example:{} HTTP/1.1", upstream.port));
    assert_eq!(head.header("proxy-authorization"), Some("Basic bWU6cGFzcw=="));
}

// An address that is not of this machine alone, but reaches it: only Linux has that.
#[cfg(target_os = "linux")]
#[test]
fn no_proxy_names_the_upstreams_that_are_reached_without_it() {
    let upstream = secure("0.0.0.0");
    let (proxy, asked) = proxy();
    let sandbox = Sandbox::new();
    sandbox.write("ca.pem", &upstream.authority);
    let url = format!("https://0.0.0.0:{}", upstream.port);
    let proxy = format!("http://{proxy}");
    let arguments = ["--upstream", &url, "--ca-file", "ca.pem"];
    let recorder =
        Recorder::start_service_with(sandbox, &arguments, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "other.example,0.0.0.0")]);
    assert_eq!(Client::post(&recorder.address, REQUEST).answer().status(), 200);
    assert!(asked.try_recv().is_err(), "the proxy was asked");
    let recorder = Recorder::start_service_with(recorder.kill(), &arguments, &[("HTTPS_PROXY", &proxy)]);
    assert_eq!(Client::post(&recorder.address, REQUEST).answer().status(), 200);
    assert!(receive("the proxy's request", &asked).line.starts_with("CONNECT 0.0.0.0:"));
}
