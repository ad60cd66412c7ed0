//! Separates the model's thoughts, which stand between tags at the start of its output, from the answer.

use super::syntax::ending_with_start_of;

/// The pair of tags around thoughts.
#[derive(Debug, PartialEq, Eq)]
pub struct ThinkingTags {
    /// The whole of what stands before the first thought.
    pub open: &'static str,
    /// The part of `open` that is markup: all of it, or what stands before a word such as Gemma's `thought`.
    pub open_markup: &'static str,
    /// After the last.
    pub close: &'static str,
}

/// The pairs that models use: the first by Qwen, DeepSeek and most others, the second by Mistral, the third by Gemma.
pub(super) const THINKING_TAGS: [ThinkingTags; 3] = [
    ThinkingTags { open: "<think>", open_markup: "<think>", close: "</think>" },
    ThinkingTags { open: "[THINK]", open_markup: "[THINK]", close: "[/THINK]" },
    ThinkingTags { open: "<|channel>thought", open_markup: "<|channel>", close: "<channel|>" },
];

impl ThinkingTags {
    /// The tags that the prompt opens at its very end, if it does: then the answer begins inside thoughts.
    pub fn opened_by(prompt: &str) -> Option<&'static Self> {
        THINKING_TAGS.iter().find(|tags| prompt.trim_end().ends_with(tags.open))
    }
}

/// Separates thoughts from the answer. Blank lines around thoughts belong to the markup and are dropped.
pub struct Thinking {
    state: ThinkingState,
    /// Text received but not yet returned: it may be part of a tag, or whitespace to drop.
    held: String,
}

#[derive(Clone, Copy)]
enum ThinkingState {
    /// Too little text to know whether thoughts come.
    Undecided,
    /// After the opening tag, before the first thought.
    Opened(&'static ThinkingTags),
    Inside(&'static ThinkingTags),
    /// After the closing tag, before the answer.
    Closed,
    Answer,
}

/// Text, separated into thoughts and answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub thought: String,
    pub answer: String,
}

impl Thinking {
    /// `opened`: the tags that the prompt has opened already.
    pub(super) fn new(opened: Option<&'static ThinkingTags>) -> Self {
        Self { state: opened.map_or(ThinkingState::Undecided, ThinkingState::Opened), held: String::new() }
    }

    /// No thoughts: all text is the answer.
    pub(super) fn none() -> Self {
        Self { state: ThinkingState::Answer, held: String::new() }
    }

    /// Whether the thoughts have ended, or there are none.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, ThinkingState::Closed | ThinkingState::Answer)
    }

    /// Inside thoughts: their tags, and how many bytes of the closing tag the text ends with.
    pub(super) fn closing_so_far(&self) -> Option<(&'static ThinkingTags, usize)> {
        match self.state {
            ThinkingState::Opened(tags) | ThinkingState::Inside(tags) => {
                Some((tags, ending_with_start_of(&self.held, tags.close)))
            }
            ThinkingState::Undecided | ThinkingState::Closed | ThinkingState::Answer => None,
        }
    }

    /// What is still to come of the opening tag, if its markup is there but not the whole of it.
    pub(super) fn rest_of_opening(&self) -> Option<&'static str> {
        let text = self.held.trim_start();
        let undecided = matches!(self.state, ThinkingState::Undecided);
        let mut begun = THINKING_TAGS.iter().filter(|tags| undecided && text.starts_with(tags.open_markup));
        begun.find_map(|tags| tags.open.strip_prefix(text))
    }

    /// Adds text; returns what is decided now.
    pub(super) fn push(&mut self, text: &str) -> Split {
        self.held.push_str(text);
        let mut split = Split::default();
        while self.step(&mut split) {}
        split
    }

    /// The answer has ended: returns the text that was held back.
    pub(super) fn finish(&mut self) -> Split {
        let held = std::mem::take(&mut self.held);
        match self.state {
            ThinkingState::Opened(_) | ThinkingState::Inside(_) => {
                Split { thought: held.trim_end_matches('\n').into(), answer: String::new() }
            }
            ThinkingState::Undecided | ThinkingState::Closed | ThinkingState::Answer => {
                Split { thought: String::new(), answer: held }
            }
        }
    }

    /// One step of the state machine. Returns false when it cannot go on without more text.
    fn step(&mut self, split: &mut Split) -> bool {
        match self.state {
            ThinkingState::Undecided => {
                let text = self.held.trim_start();
                if let Some(tags) = THINKING_TAGS.iter().find(|tags| text.starts_with(tags.open)) {
                    self.held = text[tags.open.len()..].to_owned();
                    self.state = ThinkingState::Opened(tags);
                } else if THINKING_TAGS.iter().any(|tags| tags.open.starts_with(text)) {
                    return false;
                } else {
                    self.state = ThinkingState::Answer;
                }
            }
            ThinkingState::Opened(tags) => {
                self.held = self.held.trim_start_matches('\n').to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = ThinkingState::Inside(tags);
            }
            ThinkingState::Inside(ThinkingTags { close, .. }) => {
                if let Some(at) = self.held.find(close) {
                    split.thought.push_str(self.held[..at].trim_end_matches('\n'));
                    self.held.drain(..at + close.len());
                    self.state = ThinkingState::Closed;
                    return true;
                }
                let open = self.held.len() - ending_with_start_of(&self.held, close);
                let certain = self.held[..open].trim_end_matches('\n').len();
                split.thought.extend(self.held.drain(..certain));
                return false;
            }
            ThinkingState::Closed => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = ThinkingState::Answer;
            }
            ThinkingState::Answer => {
                split.answer.push_str(&std::mem::take(&mut self.held));
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(opened: Option<&'static ThinkingTags>, chunks: &[&str]) -> (String, String) {
        let mut thinking = Thinking::new(opened);
        let mut splits: Vec<Split> = chunks.iter().map(|chunk| thinking.push(chunk)).collect();
        splits.push(thinking.finish());
        splits.into_iter().fold(Default::default(), |(thought, answer), split| (thought + &split.thought, answer + &split.answer))
    }

    #[test]
    fn thoughts_are_told_from_the_answer_however_they_are_split() {
        let [angle, square, channel] = &THINKING_TAGS;
        let cases = [
            (None, "<think>\nOne\n\ntwo.\n</think>\n\nAnswer\n", "One\n\ntwo.", "Answer\n"),
            (None, "\n<think>a<tool_call></thin</think><tool_call>", "a<tool_call></thin", "<tool_call>"),
            (None, "<think>\n\n</think>\n\nx", "", "x"),
            (None, "<think>\ncut\n</th", "cut\n</th", ""),
            (None, " An <think>answer</think>", "", " An <think>answer</think>"),
            (None, "<thi", "", "<thi"),
            (Some(angle), "\nlike R1</think> so", "like R1", "so"),
            (Some(angle), "", "", ""),
            (
                None,
                "[THINK]\nOne [tool] [TOOL_CALLS]x[ARGS]{}\n[/THINK]\n[TOOL_CALLS]",
                "One [tool] [TOOL_CALLS]x[ARGS]{}",
                "[TOOL_CALLS]",
            ),
            (None, "[THINK]a</think>[/THINK]b", "a</think>", "b"),
            (None, "[TH", "", "[TH"),
            (Some(square), "hm</think>[/THI", "hm</think>[/THI", ""),
            (None, "<|channel>thought\nOne <|.\n<channel|>Answer", "One <|.", "Answer"),
            (None, "<|channel>thoug", "", "<|channel>thoug"),
            (Some(channel), "\nhm<channel|><|tool_call>", "hm", "<|tool_call>"),
        ];
        for (opened, text, thought, answer) in cases {
            let expected = (thought.to_owned(), answer.to_owned());
            assert_eq!(split(opened, &[text]), expected, "{text}");
            let characters: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(split(opened, &characters.iter().map(String::as_str).collect::<Vec<_>>()), expected, "{text}: one by one");
        }
    }

    #[test]
    fn a_prompt_opens_thoughts_with_its_last_word() {
        let opened = |prompt: &str| ThinkingTags::opened_by(prompt).map(|tags| tags.close);
        let prompts = ["<|im_start|>assistant\n<think>\n", "[/INST][THINK]", "<think></think>", "[INST]"];
        assert_eq!(prompts.map(opened), [Some("</think>"), Some("[/THINK]"), None, None]);
    }
}
