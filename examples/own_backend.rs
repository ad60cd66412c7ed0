//! A backend of one's own behind the Messages API: whatever implements [`Backend`] can answer Claude Code.
//!
//!     cargo run --example own_backend
//!     ANTHROPIC_BASE_URL=http://127.0.0.1:8082 ANTHROPIC_API_KEY=local claude -p "Hello there"

use std::sync::Arc;

use anyclaude::backend::{Backend, BackendError, EventStream};
use anyclaude::server::{Server, ServerOptions};
use anyclaude::wire::{BlockDelta, ContentBlock, Message, MessagesRequest, StopReason, StreamEvent, Usage};
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use tokio::net::TcpListener;

/// Answers with how much it was told.
struct Counting;

impl Backend for Counting {
    fn name(&self) -> String {
        "counting".into()
    }

    fn model(&self) -> String {
        "counting".into()
    }

    /// An answer is a stream of events: the message starts, its content blocks come, it ends.
    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        let usage = Usage { input_tokens: words(&request), output_tokens: 8, ..Usage::default() };
        let text = format!("{} messages with {} words came.", request.messages.len(), usage.input_tokens);
        let events = [
            StreamEvent::MessageStart { message: Message::empty("msg_1", self.model(), usage.clone()) },
            StreamEvent::ContentBlockStart { index: 0, content_block: ContentBlock::text("") },
            StreamEvent::ContentBlockDelta { index: 0, delta: BlockDelta::text(text) },
            StreamEvent::ContentBlockStop { index: 0 },
            StreamEvent::message_delta(StopReason::EndTurn, None, &usage),
            StreamEvent::MessageStop,
        ];
        // What a real backend awaits here fails with the HTTP status of its error; later ones go into the stream.
        async { Ok(EventStream::new(stream::iter(events.map(Ok)))) }.boxed()
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        async move { Ok(words(&request)) }.boxed()
    }
}

/// The number of words in a conversation: what counts as a token here.
fn words(request: &MessagesRequest) -> u64 {
    let blocks = request.messages.iter().flat_map(|message| message.content.blocks().into_owned());
    let texts = blocks.filter_map(|block| if let ContentBlock::Text { text, .. } = block { Some(text) } else { None });
    texts.map(|text| text.split_whitespace().count() as u64).sum()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8082);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stopped = tokio::signal::ctrl_c().map(|_| ());
    Server::new(Arc::new(Counting), ServerOptions::default()).run(listener, stopped).await
}
