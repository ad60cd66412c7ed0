//! The protocols' own words: types, roles, reasons, settings. Only they are structure where one of them is expected; any other
//! word there may be somebody's.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::filler::{filler, hashed, is_hashed};

/// Content blocks, what they hold, and the deltas that add to them.
const BLOCKS: &str = "
    text image document file content url base64 tool_use tool_result thinking redacted_thinking search_result container_upload
    compaction fallback tool_reference tool_addition tool_removal server_tool_use mcp_tool_use mcp_tool_result direct
    web_search_tool_result web_search_result web_search_tool_result_error
    web_fetch_tool_result web_fetch_result web_fetch_tool_result_error
    code_execution_tool_result code_execution_result code_execution_output code_execution_tool_result_error
    encrypted_code_execution_result
    bash_code_execution_tool_result bash_code_execution_result bash_code_execution_output
    bash_code_execution_tool_result_error
    text_editor_code_execution_tool_result text_editor_code_execution_view_result text_editor_code_execution_create_result
    text_editor_code_execution_str_replace_result text_editor_code_execution_tool_result_error
    tool_search_tool_result tool_search_tool_search_result tool_search_tool_result_error
    advisor_tool_result advisor_result advisor_redacted_result advisor_tool_result_error
    char_location page_location content_block_location web_search_result_location search_result_location
    text_delta input_json_delta thinking_delta signature_delta citations_delta compaction_delta
    input_text input_image input_file output_text summary_text reasoning_text refusal image_url input_audio
    reasoning.text reasoning.summary reasoning.encrypted url_citation file_citation container_file_citation file_path
    unknown anthropic-claude-v1 openai-responses-v1 google-gemini-v1";

/// Tools, and choices among them.
const TOOLS: &str = "
    auto any none required tool tools function functions custom allowed_tools bash text_editor computer memory web_search
    web_fetch code_execution tool_search_tool_regex tool_search_tool_bm25 mcp_toolset advisor mcp namespace tool_search
    web_search_preview file_search code_interpreter image_generation local_shell shell apply_patch computer_use_preview
    str_replace_editor str_replace_based_edit_tool grammar lark regex";

/// Settings of requests.
const SETTINGS: &str = "
    ephemeral 5m 1h 24h in_memory enabled disabled adaptive omitted summarized full low medium high xhigh max minimal
    json_schema json_object standard standard_only priority batch default flex scale fast us eu global not_available all
    clear_tool_uses clear_thinking compact thinking_turns tool_uses input_tokens concise detailed original
    reasoning.encrypted_content message.output_text.logprobs message.input_image.image_url file_search_call.results
    web_search_call.action.sources web_search_call.results code_interpreter_call.outputs
    computer_call_output.output.image_url";

/// Roles, objects, and items of the Responses API.
const OBJECTS: &str = "
    user assistant system developer message error list model chat.completion chat.completion.chunk text_completion response
    reasoning function_call function_call_output custom_tool_call custom_tool_call_output web_search_call file_search_call
    computer_call computer_call_output code_interpreter_call image_generation_call local_shell_call local_shell_call_output
    shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_call mcp_list_tools mcp_approval_request
    mcp_approval_response item_reference tool_search_call tool_search_output";

/// Why an answer ended, how far it came, and what went wrong.
const ENDINGS: &str = "
    end_turn max_tokens stop_sequence pause_turn model_context_window_exceeded stop length tool_calls content_filter eos
    in_progress completed incomplete failed queued cancelled searching calling max_output_tokens
    invalid_request_error authentication_error billing_error permission_error not_found_error request_too_large
    rate_limit_error timeout_error api_error overloaded_error conflict_error server_error invalid_tool_input unavailable
    max_uses_exceeded too_many_requests query_too_long url_too_long url_not_allowed url_not_accessible
    unsupported_content_type execution_time_exceeded output_file_too_large file_not_found string_not_found
    insufficient_quota invalid_api_key model_not_found context_length_exceeded rate_limit_exceeded unsupported_parameter
    unsupported_value missing_required_parameter invalid_value invalid_type invalid_prompt requests tokens";

/// Types and formats of JSON Schema.
const SCHEMAS: &str = "
    string number integer boolean array object null date time date-time duration email idn-email hostname idn-hostname ipv4
    ipv6 uri uri-reference uri-template iri iri-reference uuid json-pointer relative-json-pointer int32 int64 uint32 uint64
    float double byte binary password base64url 7bit 8bit quoted-printable";

/// Names of events.
const EVENTS: &str = "
    message_start message_delta message_stop content_block_start content_block_delta content_block_stop ping completion
    response.created response.queued response.in_progress response.completed response.incomplete response.failed
    response.output_item.added response.output_item.done response.content_part.added response.content_part.done
    response.output_text.delta response.output_text.done response.output_text.annotation.added
    response.refusal.delta response.refusal.done response.reasoning_text.delta response.reasoning_text.done
    response.reasoning_summary_part.added response.reasoning_summary_part.done response.reasoning_summary_text.delta
    response.reasoning_summary_text.done response.function_call_arguments.delta response.function_call_arguments.done
    response.custom_tool_call_input.delta response.custom_tool_call_input.done
    response.web_search_call.in_progress response.web_search_call.searching response.web_search_call.completed
    response.file_search_call.in_progress response.file_search_call.searching response.file_search_call.completed
    response.code_interpreter_call.in_progress response.code_interpreter_call.interpreting
    response.code_interpreter_call.completed response.code_interpreter_call_code.delta
    response.code_interpreter_call_code.done response.image_generation_call.in_progress
    response.image_generation_call.generating response.image_generation_call.partial_image
    response.image_generation_call.completed response.mcp_call.in_progress response.mcp_call.completed
    response.mcp_call.failed response.mcp_call_arguments.delta response.mcp_call_arguments.done
    response.mcp_list_tools.in_progress response.mcp_list_tools.completed response.mcp_list_tools.failed";

/// All of them.
static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lists = [BLOCKS, TOOLS, SETTINGS, OBJECTS, ENDINGS, SCHEMAS, EVENTS];
    lists.into_iter().flat_map(str::split_ascii_whitespace).collect()
});

/// How the types of the Responses API's events begin. It stays, as scrubbing tells by it which fields an event has.
const RESPONSE: &str = "response.";

/// Whether this is a word of a protocol, perhaps with a date behind it as types of tools have: `bash_20250124`.
pub(super) fn is_enumerated(text: &str) -> bool {
    let is_date = |end: &str| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_digit());
    let undated = text.rsplit_once('_').filter(|(_, end)| is_date(end)).map_or(text, |(start, _)| start);
    KNOWN.contains(undated)
}

/// A word that stays if it is known, and else becomes filler that no protocol knows.
pub(super) fn enumerated(text: &str) -> String {
    if is_enumerated(text) {
        return text.to_owned();
    }
    let (start, rest) = text.strip_prefix(RESPONSE).map_or(("", text), |rest| (RESPONSE, rest));
    if is_hashed(rest) {
        return text.to_owned();
    }
    let new = format!("{start}{}", filler(rest));
    if is_enumerated(&new) { format!("{start}{}", hashed(rest)) } else { new }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_protocols_stay_and_others_do_not() {
        for text in ["tool_use", "bash_20250124", "clear_thinking_20251015", "response.completed", "5m", "[redacted]", ""] {
            assert_eq!(enumerated(text), text);
        }
        for text in ["Secretive", "secretive_20250124", "response.secretive.delta", "two words"] {
            let scrubbed = enumerated(text);
            assert!(scrubbed != text && !scrubbed.contains("ecretive"), "{scrubbed}");
            assert_eq!(enumerated(&scrubbed), scrubbed);
            assert_eq!(text.starts_with(RESPONSE), scrubbed.starts_with(RESPONSE));
        }
    }

    #[test]
    fn filler_is_no_word_of_a_protocol() {
        // Each short word becomes one of few, some of which the protocols have too.
        for letters in 'a'..='z' {
            for second in 'a'..='z' {
                let word: String = [letters, second, letters, second].iter().collect();
                assert!(is_enumerated(&word) || !is_enumerated(&enumerated(&word)), "{word}");
            }
        }
    }
}
