//! Prompts against transformers, with a real tokenizer and template.

use anyclaude::engine::text::{ChatTemplate, Tokenizer};
use anyclaude::wire::MessagesRequest;
use serde::Deserialize;

use crate::support::sandbox::repository;

#[derive(Deserialize)]
struct Conversation {
    name: String,
    request: MessagesRequest,
    ids: Vec<u32>,
}

#[test]
#[ignore = "needs the reference: make oracle"]
fn prompts_are_those_of_transformers() {
    let oracle = repository("target/oracle");
    let text = std::fs::read(oracle.join("prompts.json")).expect("make oracle writes it");
    let conversations: Vec<Conversation> = serde_json::from_slice(&text).unwrap();
    let folder = oracle.join("qwen3/models");
    let tokenizer = Tokenizer::load(&folder).unwrap();
    let template = ChatTemplate::load(&folder, &tokenizer).unwrap();
    for Conversation { name, request, ids } in &conversations {
        let prompt = template.render(request).unwrap();
        let ours = tokenizer.encode(&prompt).unwrap();
        let text = |ids: &[u32]| {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes(*id)).copied().collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        assert_eq!(text(&ours), text(ids), "{name}");
        assert_eq!(&ours, ids, "{name}: the same text in other tokens");
    }
    println!("{} conversations have the tokens that transformers gives them", conversations.len());
}
