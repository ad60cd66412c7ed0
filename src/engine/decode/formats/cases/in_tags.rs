//! Formats with each argument in tags of its own.

use serde_json::json;

use super::super::ToolFormatName::{Glm, MiniMax, Qwen3Coder};
use super::*;

#[test]
fn qwen3_coder() {
    let call = "<tool_call>\n<function=Read>\n<parameter=path>\na \"b\" \\ {é🙂}\n\n  <x> </para\n</parameter>\n\
                <parameter=lines>\n[1, {\"from\": 2.5}]\n</parameter>\n<parameter=all>\nTrue\n</parameter>\n</function>\n</tool_call>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n\n  <x> </para", "lines": [1, {"from": 2.5}], "all": true});
    check(Qwen3Coder, call, &[Call("Read", input.clone())]);
    let bare = call.strip_prefix("<tool_call>\n").unwrap();
    let answer = format!("before\n{call}\n{bare}after").leak();
    check(Qwen3Coder, answer, &[Text("before\n"), Call("Read", input.clone()), Text("\n"), Call("Read", input), Text("after")]);
    check(Qwen3Coder, "<function=X></function>", &[Call("X", json!({}))]);
    check(
        Qwen3Coder,
        "<function=X>\n<parameter=a>12</parameter><parameter=b>\nnot json\n</parameter></function> after",
        &[Call("X", json!({"a": 12, "b": "not json"})), Text(" after")],
    );
    check(
        Qwen3Coder,
        "<function=Read><parameter=path>\n12\n</parameter>\n oops",
        &[Call("Read", json!({"path": "12"})), Text("\n oops")],
    );
    check(Qwen3Coder, "<function=Read><parameter=path>\nab", &[Cut("Read", "{\"path\": \"ab")]);
    check(
        Qwen3Coder,
        "<function=Read>\n<parameter=path>\n<parameter=text>\n\n<parameter=lines>\n[1]\n<parameter=all>\ntrue\n</parameter>\n</function>",
        &[Call("Read", json!({"path": "<parameter=text>\n", "lines": [1], "all": true}))],
    );
    check(
        Qwen3Coder,
        "<function=Read>\n<parameter=text>\na <parameter=all>\n<parameter=path>\n<parameter=other>\n</parameter>\n</function>",
        &[Call("Read", json!({"text": "a <parameter=all>\n<parameter=path>\n<parameter=other>"}))],
    );
    for broken in
        ["<tool_call>\n{\"name\": \"X\"}", "<function=a<b>", "<function=>", "<tool_call>\n<function=Re", "<function=a\nb>"]
    {
        check(Qwen3Coder, broken, &[Text(broken)]);
    }
}

#[test]
fn glm() {
    let call = "<tool_call>Read\n<arg_key>path</arg_key>\n<arg_value>a \"b\" \\ {é🙂}\n\n  <x> </arg\n</arg_value>\n\
                <arg_key>lines</arg_key>\n<arg_value>[1, {\"from\": 2.5}]</arg_value>\n\
                <arg_key>all</arg_key>\n<arg_value>true</arg_value>\n</tool_call>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n\n  <x> </arg\n", "lines": [1, {"from": 2.5}], "all": true});
    check(Glm, call, &[Call("Read", input.clone())]);
    let tight = "<tool_call>Read<arg_key>path</arg_key><arg_value>12</arg_value></tool_call>";
    let two = [Text("before\n"), Call("Read", json!({"path": "12"})), Call("Read", json!({"path": "12"})), Text("after")];
    check(Glm, format!("before\n{tight}{tight}after").leak(), &two);
    check(Glm, "<tool_call>X\n</tool_call>", &[Call("X", json!({}))]);
    // A string of JSON may contain what closes a value.
    check(
        Glm,
        "<tool_call>Read\n<arg_key>lines</arg_key>\n<arg_value>[\"a</arg_value>\\\"\", 1]</arg_value>\n</tool_call>",
        &[Call("Read", json!({"lines": ["a</arg_value>\"", 1]}))],
    );
    // Without the tool's schema what reads as JSON is JSON; a forgotten tag before the value is no matter.
    check(
        Glm,
        "<tool_call>X\n<arg_key>a</arg_key>12</arg_value><arg_key> b </arg_key>\n<arg_value>not json</arg_value>\n</tool_call>",
        &[Call("X", json!({"a": 12, "b": "not json"}))],
    );
    check(Glm, "<tool_call>Read\n<arg_key>path</arg_key>\n<arg_value>ab", &[Cut("Read", "{\"path\": \"ab")]);
    for broken in [
        "<tool_call>\n{\"name\": \"X\"}",
        "<tool_call>Read",
        "<tool_call>I would call it</tool_call>",
        "<tool_call>\n</tool_call>",
    ] {
        check(Glm, broken, &[Text(broken)]);
    }
}

#[test]
fn minimax() {
    let invoke = "<invoke name=\"Read\">\n<parameter name=\"path\">a \"b\" \\ {é🙂}\n\n  <x> </para\n</parameter>\n\
                  <parameter name=\"lines\">[1, {\"from\": 2.5}]</parameter>\n<parameter name=\"all\">true</parameter>\n</invoke>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n\n  <x> </para\n", "lines": [1, {"from": 2.5}], "all": true});
    let answer = format!("before\n<minimax:tool_call>\n{invoke}\n</minimax:tool_call>after").leak();
    check(MiniMax, answer, &[Text("before\n"), Call("Read", input.clone()), Text("after")]);
    let two = format!("<minimax:tool_call>{invoke}\n<invoke name=\"X\"></invoke></minimax:tool_call>");
    check(MiniMax, &two, &[Call("Read", input), Call("X", json!({}))]);
    // Without the tool's schema what reads as JSON is JSON.
    check(
        MiniMax,
        "<minimax:tool_call><invoke name=\"X\"><parameter name=\"a\">12</parameter><parameter name=\"b\">not json</parameter>\
         </invoke>",
        &[Call("X", json!({"a": 12, "b": "not json"}))],
    );
    check(
        MiniMax,
        "<minimax:tool_call><invoke name=\"Read\"><parameter name=\"path\">12</parameter></minimax:tool_call> so",
        &[Call("Read", json!({"path": "12"})), Text(" so")],
    );
    check(MiniMax, "<minimax:tool_call><invoke name=\"Read\">\n<parameter name=\"path\">ab", &[Cut("Read", "{\"path\": \"ab")]);
    for broken in [
        "<minimax:tool_call>",
        "<minimax:tool_call>\n</minimax:tool_call>",
        "<minimax:tool_call><invoke name=Read>",
        "<minimax:tool_call><invoke name=\"\"></invoke>",
        "<invoke name=\"Read\"></invoke>",
        "<minimax:tool_call>{\"name\": \"X\"}",
    ] {
        check(MiniMax, broken, &[Text(broken)]);
    }
}
