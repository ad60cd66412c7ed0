//! One request and its answer.

use anyclaude::wire::{Assembler, ContentBlock, StreamEvent};
use futures::StreamExt;
use reqwest::Client;
use serde_json::Value;

use crate::support::Outcome;

/// Asks, and reads the streamed answer to its end; its content.
pub(crate) async fn ask(client: &Client, url: &str, body: &Value) -> Outcome<Vec<ContentBlock>> {
    let response = client.post(format!("{url}/v1/messages")).json(body).send().await?;
    let status = response.status();
    let text = response.text().await?;
    let mut assembler = Assembler::default();
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        assembler.push(&serde_json::from_str::<StreamEvent>(data)?)?;
    }
    let whole = status.is_success() && assembler.is_complete();
    if whole {
        Ok(assembler.finish()?.content)
    } else {
        Err(format!("{status}: {}", text.chars().take(300).collect::<String>()).into())
    }
}

/// Asks, and leaves after the first part of the answer.
pub(crate) async fn leave(client: &Client, url: &str, body: &Value) -> Outcome<()> {
    let response = client.post(format!("{url}/v1/messages")).json(body).send().await?;
    let status = response.status();
    let first = response.bytes_stream().next().await.transpose()?;
    if status.is_success() && first.is_some() { Ok(()) } else { Err(format!("{status}, and no answer").into()) }
}
