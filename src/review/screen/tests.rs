use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;
use crate::review::Key;
use crate::review::testing::{calls, changed, of, review};

/// The screen of 80 columns and 24 rows after these keys.
fn screen(mut state: State, keys: &[Key]) -> String {
    for key in keys {
        state.update(*key);
    }
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(&mut state, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = (0..24).map(|y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_list_has_like_changes_as_one_and_the_chosen_one_below() {
    insta::assert_snapshot!(screen(review(), &[]), @r#"
     5 pending: 0 to accept, 0 to reject, 0 skipped, 5 undecided
    ▸ 3 × path-changed Read file_path: home/me → workspace
      demo/0004  white-space Bash command: "" → " "
      demo/0005  no-snapshot Bash {"command":"pwd"}








     demo/0001 and 2 more that changed in the same way ─────────────────────────────
      Read file_path  path-changed
        accepted   "/home/me/1.txt"
         pending   "/workspace/1.txt"
        recorded   "hello.txt"
      Read limit  5





    a accept  r reject  s skip  A R all alike  u undo  Enter open  / find  ?  q quit
    "#);
}

#[test]
fn an_unfolded_group_shows_what_was_decided() {
    let keys = [Key::Enter, Key::Down, Key::Char('a'), Key::Char('r'), Key::Char('s'), Key::Char('+')];
    insta::assert_snapshot!(screen(review(), &keys), @r#"
     5 pending: 2 to accept, 1 to reject, 1 skipped, 1 undecided
    ▾ 3 × path-changed Read file_path: home/me → workspace  (3 decided)
      a demo/0001  Please read hello.txt
      r demo/0002  Please read hello.txt
      s demo/0003  Please read hello.txt
    + demo/0004  white-space Bash command: "" → " "
      demo/0005  no-snapshot Bash {"command":"pwd"}





     demo/0005 ─────────────────────────────────────────────────────────────────────
      Bash command
         pending   "pwd"







    demo/0004 to be accepted beside what is accepted; u undoes it
    a accept  r reject  s skip  A R all alike  u undo  Enter open  / find  ?  q quit
    "#);
}

#[test]
fn an_open_outcome_shows_each_argument_with_the_recorded_value() {
    insta::assert_snapshot!(screen(review(), &[Key::Enter, Key::Down, Key::Enter]), @r#"
     5 pending: 0 to accept, 0 to reject, 0 skipped, 5 undecided
      demo/0001   path-changed Read file_path: home/me → workspace
      model tiny, tool calls as hermes
      user: Please read hello.txt

    ▸ Read file_path  path-changed
        accepted   "/home/me/1.txt"
         pending   "/workspace/1.txt"
        recorded   "hello.txt"
      Read limit  5













    a accept  + beside  r reject  s skip  m rule  Tab request  ← → others  Esc back
    "#);
}

#[test]
fn its_request_is_a_tab_away() {
    insta::assert_snapshot!(screen(review(), &[Key::Enter, Key::Down, Key::Enter, Key::Tab]), @r#"
     5 pending: 0 to accept, 0 to reject, 0 skipped, 5 undecided
      demo/0001   path-changed Read file_path: home/me → workspace
      model tiny, tool calls as hermes
      user: Please read hello.txt

      user
        Please read hello.txt

      recorded answer
        {
          "stop_reason": "tool_use",
          "tool_use": [
            {
              "name": "Read",
              "input": {
                "file_path": "hello.txt"
              }
            }
          ]
        }

      request

    a accept  + beside  r reject  s skip  ↑ ↓ scroll  Tab arguments  Esc back
    "#);
}

#[test]
fn leaving_says_what_would_be_written() {
    let keys = [Key::Char('a'), Key::Enter, Key::Char('m'), Key::Esc, Key::Down, Key::Char('s'), Key::Char('q')];
    insta::assert_snapshot!(screen(review(), &keys), @r"
    5 pending: 3 to accept, 0 to reject, 1 skipped, 1 under new rules, 0 undecided

     Write what was decided?

         3 to accept
         1 that need not wait under the new rules
         1 skipped, which stay pending
         1 match rules to be added to anyclaude.toml

     y    write it
     n    leave, and change nothing
     Esc  go on reviewing
    ");
}

#[test]
fn a_long_value_takes_several_lines_and_control_characters_move_nothing() {
    let value = |end: &str| ("Bash", json!({"command": format!("{}\u{1b}[2J\u{9b}2J{end}", "word ".repeat(30))}));
    let state = of(vec![changed(1, value("a"), value("b"))]);
    insta::assert_snapshot!(screen(state, &[Key::Enter]), @r#"
     1 pending: 0 to accept, 0 to reject, 0 skipped, 1 undecided
      demo/0001   argument-changed Bash command: 2Ja → 2Jb
      model tiny, tool calls as hermes
      user: Please read hello.txt

    ▸ Bash command  argument-changed
        accepted   "word word word word word word word word word word word word word
                    word word word word word word word word word word word word word
                    word word word word \u001b[2J2Ja"
         pending   "word word word word word word word word word word word word word
                    word word word word word word word word word word word word word
                    word word word word \u001b[2J2Jb"











    a accept  + beside  r reject  s skip  m rule  Tab request  ← → others  Esc back
    "#);
}

#[test]
fn help_fits_the_screen() {
    let shown = screen(review(), &[Key::Char('?')]);
    assert!(HELP.lines().all(|line| line.chars().count() <= 80 && shown.contains(line.trim_end())), "{shown}");
}

#[test]
fn lines_are_cut_by_columns_and_lose_nothing() {
    let cut_text = |text: &str, width: usize| {
        let characters: Vec<char> = text.chars().collect();
        let lines = cut(&characters, width).into_iter().map(|range| characters[range].iter().collect::<String>());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(cut_text("abcde", 2), ["ab", "cd", "e"]);
    assert_eq!(cut_text("文件夹a", 4), ["文件", "夹a"]);
    assert_eq!(cut_text("文件", 1), ["文", "件"]);
    assert_eq!(cut_text("", 3), [""]);
}

#[test]
fn calls_where_text_is_accepted_are_shown_whole() {
    let bash = |command: &str| ("Bash", json!({"command": command}));
    let state = || of(vec![calls(1, &[], &[&bash("rm -rf /")]), calls(2, &[], &[&bash("ls")])]);
    let list = screen(state(), &[]);
    assert!(list.contains(r#"{"name":"Bash","input":{"command":"rm -rf /"}}"#), "{list}");
    assert!(!list.contains("2 ×"), "{list}");
    let open = screen(state(), &[Key::Enter]);
    assert!(open.contains(r#"{"name":"Bash","input":{"command":"rm -rf /"}}"#), "{open}");
}

/// Presses keys, each on a screen that was drawn.
fn screen_by_screen(state: &mut State, keys: &[Key]) -> String {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    for key in keys {
        state.update(*key);
        terminal.draw(|frame| draw(state, frame)).unwrap();
    }
    terminal.backend().to_string()
}

#[test]
fn a_value_longer_than_the_screen_starts_at_the_change_and_can_be_read_whole() {
    let numbered = |word: &str| (0..400).map(|at| if at == 300 { word.into() } else { format!("n{at}") }).collect::<Vec<_>>();
    let value = |word: &str| ("Write", json!({"content": numbered(word).join(" ")}));
    let mut state = of(vec![changed(1, value("old-word"), value("new-word"))]);
    let list = screen_by_screen(&mut state, &[]);
    assert!(list.contains("more lines: open it"), "{list}");
    let shown = screen_by_screen(&mut state, &[Key::Enter]);
    assert!(shown.contains("old-word") && !shown.contains(" n0 "), "{shown}");
    let shown = screen_by_screen(&mut state, &[Key::Char('g')]);
    assert!(shown.contains("demo/0001   argument-changed") && shown.contains("\"n0 n1 "), "{shown}");
    let shown = screen_by_screen(&mut state, &[Key::Char('G')]);
    assert!(shown.contains(r#"n399""#) && !shown.contains("old-word"), "{shown}");
    let shown = screen_by_screen(&mut state, &[Key::PageUp; 20]);
    assert!(shown.contains("demo/0001   argument-changed"), "{shown}");
}
