//! A scripted upstream and a raw client: plain sockets, so that tests decide about every byte and every pause.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::deadline::PATIENCE;

/// A request or a response as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without its transfer encoding.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Reads the head of a message.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Message {
    let mut message = Message::default();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        let text = line.trim_end();
        if text.is_empty() {
            break;
        } else if message.line.is_empty() {
            message.line = text.to_owned();
        } else if let Some((name, value)) = text.split_once(':') {
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        line.clear();
    }
    message
}

/// Reads the next chunk of a chunked body; `None` at its end, an error where it breaks off.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut size = String::new();
    reader.read_line(&mut size)?;
    let size = usize::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let mut chunk = vec![0; size + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok((size > 0).then_some(chunk))
}

/// Reads a whole message, as far as it comes.
pub(crate) fn read_message(reader: &mut impl BufRead) -> Message {
    let mut message = read_head(reader);
    if message.header("transfer-encoding") == Some("chunked") {
        message.whole = loop {
            match read_chunk(reader) {
                Ok(Some(chunk)) => message.body.extend(chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
    } else {
        let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let read = reader.take(length).read_to_end(&mut message.body);
        message.whole = read.is_ok() && message.body.len() as u64 == length;
    }
    message
}

/// What the script writes its answer to.
pub(crate) struct Answer(TcpStream);

impl Answer {
    /// Writes bytes as they are, at once.
    pub(crate) fn raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref())?;
        self.0.flush()
    }

    /// The head of an answer that is chunked, with more header lines.
    pub(crate) fn head(&mut self, status: u16, headers: &[&str]) -> io::Result<()> {
        let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.raw(format!("HTTP/1.1 {status} Scripted\r\ntransfer-encoding: chunked\r\n{more}\r\n"))
    }

    /// The head of an event stream.
    pub(crate) fn stream(&mut self) -> io::Result<()> {
        self.head(200, &["content-type: text/event-stream; charset=utf-8", "request-id: req_1"])
    }

    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.raw(framed)
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.raw("0\r\n\r\n")
    }

    /// A whole answer of known length.
    pub(crate) fn whole(&mut self, status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> io::Result<()> {
        let (body, more) = (body.as_ref(), headers.iter().map(|header| format!("{header}\r\n")).collect::<String>());
        self.raw(format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n{more}\r\n", body.len()))?;
        self.raw(body)
    }

    /// Has the connection reset, not closed in order, once the script has returned an error.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        rustix::net::sockopt::set_socket_linger(&self.0, Some(Duration::ZERO))?;
        Err(ErrorKind::ConnectionReset.into())
    }

    /// Waits until the other side has closed the connection.
    pub(crate) fn wait_for_close(&mut self) {
        let mut rest = [0; 64];
        while self.0.read(&mut rest).is_ok_and(|read| read > 0) {}
    }
}

/// An HTTP server that runs a script for every request.
pub(crate) struct Upstream {
    pub address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start(script: impl Fn(Message, &mut Answer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(script);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let script = script.clone();
                thread::spawn(move || {
                    let mut reader = BufReader::new(socket.try_clone().unwrap());
                    let mut answer = Answer(socket);
                    loop {
                        let request = read_message(&mut reader);
                        // A script that fails to write has lost its client, and drops the connection.
                        if request.line.is_empty() || script(request, &mut answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A gate: a script waits at it, the test opens it. No clock is involved.
pub(crate) fn gate() -> (mpsc::Sender<()>, Gate) {
    let (open, gate) = mpsc::channel();
    (open, Gate(Mutex::new(gate)))
}

pub(crate) struct Gate(Mutex<mpsc::Receiver<()>>);

impl Gate {
    pub(crate) fn wait(&self) {
        // The test may be gone already.
        self.0.lock().unwrap().recv().ok();
    }
}

/// An upstream that streams what `answer` writes, which may wait at the gate. A request of `/release` opens it.
pub(crate) fn gated(answer: impl Fn(&Message, &mut Answer, &Gate) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
    let (open, gate) = gate();
    Upstream::start(move |request, out| {
        if request.line.starts_with("GET /release") {
            open.send(()).ok();
            return out.whole(200, &[], "");
        }
        out.stream()?;
        answer(&request, out, &gate)?;
        out.end()
    })
}

/// A connection to the recorder with a request sent on it.
pub(crate) struct Client {
    reader: BufReader<Socket>,
}

impl Client {
    pub(crate) fn send(address: &str, method: &str, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        Self::try_send(address, method, path, headers, body).unwrap()
    }

    /// The same to a server that may go away meanwhile.
    pub(crate) fn try_send(
        address: &str,
        method: &str,
        path: &str,
        headers: &[&str],
        body: impl AsRef<[u8]>,
    ) -> io::Result<Self> {
        let body = body.as_ref();
        let mut socket = TcpStream::connect(address.trim_start_matches("http://"))?;
        let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = if method == "POST" { format!("content-length: {}\r\n", body.len()) } else { String::new() };
        write!(socket, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: test/1\r\n{length}{more}\r\n")?;
        socket.write_all(body)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(Socket { socket, asked: format!("{method} {path}") }) })
    }

    /// A Messages request.
    pub(crate) fn post(address: &str, body: &str) -> Self {
        Self::send(address, "POST", "/v1/messages?beta=true", &["content-type: application/json"], body)
    }

    /// The whole answer.
    pub(crate) fn answer(mut self) -> Message {
        read_message(&mut self.reader)
    }

    /// The answer's head.
    pub(crate) fn head(&mut self) -> Message {
        read_head(&mut self.reader)
    }

    /// The answer's chunks until their text holds `needle`; what was read.
    #[track_caller]
    pub(crate) fn read_until(&mut self, needle: &str) -> String {
        let mut body = Vec::new();
        loop {
            body.extend(read_chunk(&mut self.reader).unwrap().expect("the answer ended before"));
            let text = String::from_utf8_lossy(&body);
            if text.contains(needle) {
                return text.into_owned();
            }
        }
    }

    /// The answer's next chunk; `None` at its end.
    #[track_caller]
    pub(crate) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        read_chunk(&mut self.reader).unwrap()
    }

    /// Reads the answer's chunks to their end.
    #[track_caller]
    pub(crate) fn read_to_the_end(&mut self) {
        while self.next_chunk().is_some() {}
    }

    /// The next bytes of the answer as they are, `most` at most, and fewer where it ends; then leaves.
    pub(crate) fn read_and_leave(mut self, most: usize) -> usize {
        let mut bytes = vec![0; most];
        let mut read = 0;
        while read < most {
            match self.reader.read(&mut bytes[read..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => read += count,
            }
        }
        read
    }

    /// What comes until the connection is closed or broken, as it is.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).ok();
        rest
    }
}

/// A client's socket: where nothing comes, reading fails the test.
struct Socket {
    socket: TcpStream,
    /// What was asked for, as messages call it.
    asked: String,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer).inspect_err(|error| {
            let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!silent, "more of the answer to {} did not come within {} s", self.asked, PATIENCE.as_secs());
        })
    }
}

/// A Messages request's body.
pub(crate) const REQUEST: &str = "{\"model\":\"claude-test\",\"max_tokens\":64,\"stream\":true,  \"messages\":[{\"role\":\"user\",\"content\":\"Hé, read a.txt\"}]}";

/// A streamed answer, one SSE frame each: a text with characters of two and four bytes, then a call of Read.
pub(crate) fn frames() -> Vec<String> {
    [
        ("message_start", r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}}"#),
        ("content_block_start", r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#),
        ("ping", r#"{"type":"ping"}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Let mé "}}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"look 🦀."}}"#),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        ("content_block_start", r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"Read","input":{}}}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"file_path\": \"/w/a"}}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":".txt\"}"}}"#),
        ("content_block_stop", r#"{"type":"content_block_stop","index":1}"#),
        ("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}"#),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ]
    .iter()
    .map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"))
    .collect()
}

/// A frame that adds text to the answer's first block.
pub(crate) fn text_frame(text: &str) -> String {
    let data = serde_json::json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":text}});
    format!("event: content_block_delta\ndata: {data}\n\n")
}
