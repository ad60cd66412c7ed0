//! A recorder before an upstream: everything passes unchanged, and each exchange becomes a trace file.
//!
//!     cargo run --example record -- http://127.0.0.1:8081 traces
//!
//! Point a client at the address that it prints, stop it with Ctrl-C, and see what it wrote.

use std::error::Error;
use std::path::PathBuf;

use anyclaude::record::{Door, Notice, Recorder, RecordingSession, Upstream};
use anyclaude::snapshot::Outcome;
use anyclaude::trace::redact::Redactor;
use anyclaude::trace::{self, recorded_message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(upstream), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: record UPSTREAM_URL FOLDER".into());
    };
    let folder = PathBuf::from(folder);
    let session = RecordingSession::open(&folder, "example")?;
    // Port 0 is any free one.
    let (door, redactor) = (Door::default(), Redactor::default());
    let (recorder, mut notices) = Recorder::bind(Upstream::parse(&upstream)?, 0, session, door, &redactor).await?;
    println!("recording http://{} before {upstream}", recorder.address()?);

    // Notices tell what happens meanwhile; they end with the recorder.
    let told = tokio::spawn(async move {
        while let Some(notice) = notices.recv().await {
            if let Notice::Recorded(exchange) = notice {
                println!("{} {} {}", exchange.method, exchange.path, exchange.status);
            }
        }
    });
    recorder.run(tokio::signal::ctrl_c()).await?;
    told.await?;

    // What is written is plain data.
    for path in trace::find(&[folder])? {
        let trace = trace::read(&path)?;
        let Some(answer) = recorded_message(&trace) else { continue };
        let (tools, ttft_us) = (Outcome::from(&answer), trace.timing.ttft_us.unwrap_or_default());
        println!("{}: first token after {ttft_us} µs, called {:?}", path.display(), tools.tool_names());
    }
    Ok(())
}
