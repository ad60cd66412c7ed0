//! The problems of a replay as GitHub Actions' annotations: lines on an output that GitHub shows beside the files. Pure.

use std::path::Path;

use super::problem::Problem;

/// The most errors of one step that GitHub shows; it drops the others without a word.
const MOST: usize = 10;

/// A line for each problem, at most ten: of more, the last line is their count. `shown_path` gives the path of a file as the
/// repository has it.
pub fn annotations(problems: &[Problem], shown_path: impl Fn(&Path) -> String) -> String {
    let shown = if problems.len() > MOST { MOST - 1 } else { problems.len() };
    let mut out: String = problems[..shown].iter().map(|problem| annotation(problem, &shown_path)).collect();
    let left = problems.len() - shown;
    if left > 0 {
        out.push_str(&command(&[("title", "anyclaude replay")], &format!("{left} more are in the log and in the job's summary")));
    }
    out
}

/// The annotation of what has ended a replay before it had a report.
pub fn ended_by(error: &str) -> String {
    command(&[("title", "anyclaude replay")], error)
}

fn annotation(problem: &Problem, shown_path: impl Fn(&Path) -> String) -> String {
    let title = format!("{}: {}", problem.kind, problem.name);
    let file = problem.file.as_deref().map(shown_path);
    let properties: Vec<_> = file.iter().map(|file| ("file", file.as_str())).chain([("title", title.as_str())]).collect();
    command(&properties, &problem.text)
}

/// One workflow command.
fn command(properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<_> = properties.iter().map(|(name, value)| format!("{name}={}", escaped_property(value))).collect();
    format!("::error {}::{}\n", properties.join(","), escaped(message))
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Kind;

    fn problem(name: &str, text: &str) -> Problem {
        let file = Some(format!("traces/{name}.json").into());
        Problem { kind: Kind::ToolRenamed, name: name.into(), file, text: text.into(), detail: String::new() }
    }

    fn shown(problems: &[Problem]) -> String {
        annotations(problems, |path| path.display().to_string())
    }

    #[test]
    fn what_has_a_meaning_for_github_is_escaped() {
        insta::assert_snapshot!(
            shown(&[problem("a,b/0001", "100%\r\n::error::no"), Problem { file: None, ..problem("speed", "x: y, z") }]),
            @"
        ::error file=traces/a%2Cb/0001.json,title=tool-renamed%3A a%2Cb/0001::100%25%0D%0A::error::no
        ::error title=tool-renamed%3A speed::x: y, z
        "
        );
    }

    #[test]
    fn of_more_than_ten_problems_the_last_line_is_the_count() {
        let problems = |n: usize| (0..n).map(|nth| problem(&format!("demo/{nth:04}"), "x")).collect::<Vec<_>>();
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&problems(10)).lines().filter(|line| line.contains("file=")).count(), 10);
        let eleven = shown(&problems(11));
        assert_eq!((eleven.lines().count(), eleven.lines().filter(|line| line.contains("file=")).count()), (10, 9));
        assert!(eleven.ends_with("::error title=anyclaude replay::2 more are in the log and in the job's summary\n"), "{eleven}");
    }
}
