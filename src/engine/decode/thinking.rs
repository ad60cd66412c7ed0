//! What the model thinks before it answers: the text from `<think>` to `</think>` at the answer's start.

use super::syntax::ending_with_start_of;

pub const OPEN: &str = "<think>";
pub const CLOSE: &str = "</think>";

/// Tells thoughts from the answer. Blank lines around thoughts are part of their markup, and are not given.
pub struct Thinking {
    state: ThinkingState,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThinkingState {
    /// Whether the answer starts with thoughts is not known yet.
    Undecided,
    /// After the opening tag, before the first thought.
    Opened,
    Inside,
    /// After the closing tag, before the answer.
    Closed,
    Answer,
}

/// What a piece of text was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub thought: String,
    pub answer: String,
}

impl Thinking {
    /// `opened`: the prompt ends with the opening tag.
    pub fn new(opened: bool) -> Self {
        Self { state: if opened { ThinkingState::Opened } else { ThinkingState::Undecided }, held: String::new() }
    }

    /// Whether the next token is a thought.
    pub fn is_inside(&self) -> bool {
        matches!(self.state, ThinkingState::Opened | ThinkingState::Inside)
    }

    /// Whether thoughts are closed, or cannot come any more.
    pub fn is_over(&self) -> bool {
        matches!(self.state, ThinkingState::Closed | ThinkingState::Answer)
    }

    /// How many bytes of the closing tag the thoughts end with.
    pub fn closing_so_far(&self) -> usize {
        ending_with_start_of(&self.held, CLOSE)
    }

    /// Takes more of the text, gives what is certain.
    pub fn push(&mut self, text: &str) -> Split {
        self.held.push_str(text);
        let mut split = Split::default();
        while self.step(&mut split) {}
        split
    }

    /// The text is over: gives what was held.
    pub fn finish(&mut self) -> Split {
        let held = std::mem::take(&mut self.held);
        match self.state {
            ThinkingState::Opened | ThinkingState::Inside => {
                Split { thought: held.trim_end_matches('\n').into(), answer: String::new() }
            }
            ThinkingState::Undecided | ThinkingState::Closed | ThinkingState::Answer => {
                Split { thought: String::new(), answer: held }
            }
        }
    }

    /// Decides one piece of the held text; false when more text is needed.
    fn step(&mut self, split: &mut Split) -> bool {
        match self.state {
            ThinkingState::Undecided => {
                let text = self.held.trim_start();
                if let Some(thoughts) = text.strip_prefix(OPEN) {
                    self.held = thoughts.to_owned();
                    self.state = ThinkingState::Opened;
                } else if OPEN.starts_with(text) {
                    return false;
                } else {
                    self.state = ThinkingState::Answer;
                }
            }
            ThinkingState::Opened => {
                self.held = self.held.trim_start_matches('\n').to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.state = ThinkingState::Inside;
            }
            ThinkingState::Inside => {
                if let Some(at) = self.held.find(CLOSE) {
                    split.thought.push_str(self.held[..at].trim_end_matches('\n'));
                    self.held.drain(..at + CLOSE.len());
                    self.state = ThinkingState::Closed;
                    return true;
                }
                let open = self.held.len() - ending_with_start_of(&self.held, CLOSE);
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

    fn split(opened: bool, chunks: &[&str]) -> (String, String) {
        let mut thinking = Thinking::new(opened);
        let mut splits: Vec<Split> = chunks.iter().map(|chunk| thinking.push(chunk)).collect();
        splits.push(thinking.finish());
        splits.into_iter().fold(Default::default(), |(thought, answer), split| (thought + &split.thought, answer + &split.answer))
    }

    #[test]
    fn thoughts_are_told_from_the_answer_however_they_are_split() {
        let cases = [
            (false, "<think>\nOne\n\ntwo.\n</think>\n\nAnswer\n", "One\n\ntwo.", "Answer\n"),
            (false, "\n<think>a<tool_call></thin</think><tool_call>", "a<tool_call></thin", "<tool_call>"),
            (false, "<think>\n\n</think>\n\nx", "", "x"),
            (false, "<think>\ncut\n</th", "cut\n</th", ""),
            (false, " An <think>answer</think>", "", " An <think>answer</think>"),
            (false, "<thi", "", "<thi"),
            (true, "\nlike R1</think> so", "like R1", "so"),
            (true, "", "", ""),
        ];
        for (opened, text, thought, answer) in cases {
            let expected = (thought.to_owned(), answer.to_owned());
            assert_eq!(split(opened, &[text]), expected, "{text}");
            let characters: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(split(opened, &characters.iter().map(String::as_str).collect::<Vec<_>>()), expected, "{text}: one by one");
        }
    }
}
