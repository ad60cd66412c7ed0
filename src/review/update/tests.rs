use super::*;
use crate::review::testing::{changed, of, review};
use serde_json::json;

/// Takes in keys: `<enter>` and so on, every other character as it is.
fn press(state: &mut State, keys: &str) -> Next {
    let mut rest = keys;
    let mut next = Next::Stay;
    while let Some(first) = rest.chars().next() {
        let named = rest.split_once('>').filter(|_| first == '<');
        let (key, after) = match named {
            Some((name, after)) => (special(&name[1..]), after),
            None => (Key::Char(first), &rest[first.len_utf8()..]),
        };
        next = state.update(key);
        rest = after;
    }
    next
}

fn special(name: &str) -> Key {
    match name {
        "enter" => Key::Enter,
        "esc" => Key::Esc,
        "tab" => Key::Tab,
        "back" => Key::Backspace,
        "ctrl-c" => Key::Interrupt,
        "end" => Key::End,
        other => panic!("{other}"),
    }
}

/// A letter for each outcome: what was decided of it.
fn decided(state: &State) -> String {
    let letter = |decision: Option<Decision>| match decision {
        None => '.',
        Some(Decision::Accept) => 'a',
        Some(Decision::AcceptBeside) => '+',
        Some(Decision::Reject) => 'r',
        Some(Decision::Skip) => 's',
        Some(Decision::Covered) => 'm',
    };
    state.decisions().map(|(_, decision)| letter(decision)).collect()
}

/// What was decided after these keys on three reads that changed alike, a command and a new outcome.
fn after(keys: &str) -> String {
    let mut state = review();
    press(&mut state, keys);
    decided(&state)
}

#[test]
fn keys_decide_what_the_cursor_is_on_and_go_on_to_the_next() {
    let table = [
        ("", "....."),
        // The heading of a group stands for all in it.
        ("a", "aaa.."),
        ("ars", "aaars"),
        ("jr", "...r."),
        ("<enter>ja", "a...."),
        ("<enter>jar", "ar..."),
        ("<enter>jjA", "aaa.."),
        ("<end>R", "....r"),
        ("+", "+++.."),
        // In an outcome that is open, too.
        ("<enter>j<enter>ar+", "ar+.."),
        ("<enter>j<enter>A", "aaa.."),
        // Decisions change until they are written.
        ("akr", "rrr.."),
    ];
    for (keys, expected) in table {
        assert_eq!(after(keys), expected, "{keys}");
    }
}

#[test]
fn escape_and_enter_decide_nothing() {
    assert_eq!(after("<esc><enter><esc>j<enter><esc><enter><tab><esc><esc>"), ".....");
    assert_eq!(after("/a<esc>"), ".....");
}

#[test]
fn undo_goes_back_step_by_step() {
    assert_eq!(after("aru"), "aaa..");
    assert_eq!(after("aruu"), ".....");
    assert_eq!(after("aruuu"), ".....");
}

#[test]
fn a_search_leaves_what_it_finds_and_decisions_are_for_that_only() {
    // Searching unfolds the group of what was found; its heading is for the found ones.
    assert_eq!(after("/demo/0002<enter>a"), ".a...");
    assert_eq!(after("/ls -l<enter>a"), "...a.");
    assert_eq!(after("/LS  -L<enter>r"), "...r.");
    assert_eq!(after("/nowhere<enter>a"), ".....");
    assert_eq!(after("/nowhere<back><back><back><back><back><back><back><enter>a"), "aaa..");
    assert_eq!(after("/pwd<enter><esc>a"), "aaa..");
}

#[test]
fn nothing_is_written_before_it_was_confirmed() {
    let ends = |keys: &str| press(&mut review(), keys);
    assert_eq!(ends("q"), Next::Leave);
    assert_eq!(ends("sq"), Next::Leave, "there is nothing to write");
    assert_eq!(ends("aq"), Next::Stay);
    assert_eq!(ends("aqy"), Next::Write);
    assert_eq!(ends("aqn"), Next::Leave);
    assert_eq!(ends("aq<enter>"), Next::Stay);
    assert_eq!(ends("aq<esc>y"), Next::Stay);
    assert_eq!(ends("a<ctrl-c>"), Next::Interrupted);
    assert_eq!(ends("aq<ctrl-c>"), Next::Interrupted);
}

#[test]
fn malformed_arguments_are_never_accepted() {
    let malformed = || changed(1, ("Bash", json!({"command": "ls"})), ("Bash", json!("{\"command\": ")));
    for key in ["a", "A", "+"] {
        let mut state = of(vec![malformed()]);
        press(&mut state, key);
        assert_eq!(decided(&state), ".", "{key}");
        assert_eq!(state.message, "malformed arguments cannot be accepted; fix the backend's tool calls");
        press(&mut state, "r");
        assert_eq!(decided(&state), "r");
    }
}

#[test]
fn a_rule_names_arguments_of_any_name() {
    let grep = |value: i32| ("Grep", json!({"-n": value}));
    let mut state = of(vec![changed(1, grep(1), grep(2))]);
    press(&mut state, "<enter>m");
    assert_eq!(state.rules()[0].path, "$['-n']");
    assert_eq!(decided(&state), "m");
}

#[test]
fn like_changes_are_like_to_their_end() {
    let bash = |end: &str| ("Bash", json!({"command": format!("cd /home/someone/in/a/long/folder && {end}")}));
    let old = || ("Bash", json!({"command": "pwd"}));
    let mut state = of(vec![changed(1, old(), bash("ls")), changed(2, old(), bash("rm -rf /")), changed(3, old(), bash("ls"))]);
    press(&mut state, "A");
    assert_eq!(decided(&state), "a.a");
}

#[test]
fn a_rule_of_the_chosen_argument_covers_all_that_it_makes_equal() {
    let mut state = review();
    // The command, whose white space differs.
    press(&mut state, "j<enter>m");
    let rules =
        |state: &State| -> Vec<String> { state.rules().iter().map(|rule| format!("{} {:?}", rule.path, rule.way)).collect() };
    assert_eq!((rules(&state), decided(&state).as_str()), (vec!["$.command Words".into()], "...m."));
    press(&mut state, "m");
    assert_eq!(rules(&state), ["$.command Type"]);
    press(&mut state, "mm");
    assert_eq!((rules(&state), decided(&state).as_str()), (vec![], "....."));
    press(&mut state, "u");
    assert_eq!(rules(&state), ["$.command Ignore"]);
    assert_eq!(press(&mut state, "<esc>q"), Next::Stay, "a rule is something to write");
    // One rule for all paths; what was decided otherwise stays.
    assert_eq!(after("<enter>j<enter>rm"), "rmm..");
}

#[test]
fn where_no_rule_helps_it_says_so() {
    let mut state = of(vec![changed(1, ("Read", json!({"a": 1})), ("Write", json!({"a": 1})))]);
    press(&mut state, "<enter>m");
    assert_eq!((state.message.as_str(), state.rules().len()), ("a rule is for arguments, and here the calls differ", 0));
    press(&mut state, "jm");
    assert_eq!(state.message, "choose an argument that differs");
}

#[test]
fn two_hundred_are_gone_through_in_a_few_keys() {
    let read = |folder: &str, seq: usize| ("Read", json!({"file_path": format!("{folder}/{seq}.txt")}));
    let mut items: Vec<_> = (0..199).map(|seq| changed(seq, read("/a", seq), read("/b", seq))).collect();
    items.push(changed(199, ("Bash", json!({"command": "ls"})), ("Bash", json!({"command": "pwd"}))));
    let mut state = of(items);
    assert_eq!(state.rows().len(), 2);
    assert_eq!(press(&mut state, "arqy"), Next::Write);
    assert_eq!(decided(&state), "a".repeat(199) + "r");
}
