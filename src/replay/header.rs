//! What is not as it was when a snapshot was accepted, beside its outcome: the prompt, the model, how it writes calls. Pure.

use super::{Finding, Kind};
use crate::snapshot::Info;

/// A change of the prompt's tokens by at most one part in this many is no change.
const SMALL_PART: u64 = 50;

/// What the headers say. `allowance`: tokens by which prompts may differ for reasons of the replay itself.
pub fn header_changes(accepted: &Info, now: &Info, allowance: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut changed = |kind: Kind, place: &str, old: &str, new: &str| {
        if old != new && !old.is_empty() && !new.is_empty() {
            findings.push(Finding::at(kind, place, Some(&old.into()), Some(&new.into())));
        }
    };
    match (&accepted.digest, &now.digest) {
        (Some(old), Some(new)) => {
            changed(Kind::ModelChanged, "info.digest.weights", &old.weights, &new.weights);
            changed(Kind::ModelChanged, "info.digest.tokenizer", &old.tokenizer, &new.tokenizer);
            changed(Kind::TemplateChanged, "info.digest.template", &old.template, &new.template);
        }
        _ => changed(Kind::ModelChanged, "info.model", &accepted.model, &now.model),
    }
    changed(Kind::FormatChanged, "info.tool_format", &accepted.tool_format, &now.tool_format);
    findings.extend(prompt_tokens(accepted, now, allowance));
    findings
}

/// Another tokenizer counts in another way, so that its counts are not compared.
fn prompt_tokens(accepted: &Info, now: &Info, allowance: u64) -> Option<Finding> {
    let (old, new) = accepted.prompt_tokens.zip(now.prompt_tokens)?;
    let tokenizer = |info: &Info| info.digest.as_ref().map(|digest| digest.tokenizer.clone());
    let known = tokenizer(accepted).zip(tokenizer(now));
    let same_tokenizer = known.map_or(accepted.model == now.model, |(old, new)| old == new);
    let difference = old.abs_diff(new);
    if !same_tokenizer || difference <= allowance || difference * SMALL_PART <= old {
        return None;
    }
    let percent = (new as f64 / old.max(1) as f64 - 1.0) * 100.0;
    let finding = Finding::at(Kind::PromptTokensChanged, "info.prompt_tokens", Some(&old.into()), Some(&new.into()));
    Some(Finding { note: Some(format!("{percent:+.0}%")), ..finding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ModelDigest;

    fn info(tokenizer: &str, template: &str, prompt_tokens: u64) -> Info {
        let digest = ModelDigest { weights: "w".into(), tokenizer: tokenizer.into(), template: template.into() };
        Info {
            model: "m".into(),
            tool_format: "hermes".into(),
            digest: Some(digest),
            prompt_tokens: Some(prompt_tokens),
            ..Info::default()
        }
    }

    fn kinds(accepted: &Info, now: &Info) -> Vec<Kind> {
        header_changes(accepted, now, 0).iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn what_changed_has_its_kind() {
        let accepted = info("t", "c", 1000);
        assert_eq!(kinds(&accepted, &info("t", "c", 1020)), []);
        assert_eq!(kinds(&accepted, &info("t", "c", 1021)), [Kind::PromptTokensChanged]);
        assert_eq!(kinds(&accepted, &info("t", "other", 360)), [Kind::TemplateChanged, Kind::PromptTokensChanged]);
        // Another tokenizer counts in another way.
        assert_eq!(kinds(&accepted, &info("other", "c", 2000)), [Kind::ModelChanged]);
        assert_eq!(kinds(&accepted, &Info { tool_format: "llama3".into(), ..accepted.clone() }), [Kind::FormatChanged]);
        // Where no digest is known, the name is compared. Snapshots of earlier versions have no counts.
        let elsewhere = |model: &str| Info { model: model.into(), digest: None, ..accepted.clone() };
        assert_eq!(kinds(&elsewhere("m"), &elsewhere("n")), [Kind::ModelChanged]);
        assert_eq!(kinds(&Info { prompt_tokens: None, ..accepted.clone() }, &accepted), []);
    }

    #[test]
    fn the_finding_says_by_how_much() {
        let findings = header_changes(&info("t", "c", 1000), &info("t", "c", 360), 0);
        assert_eq!(findings[0].to_string(), "prompt-tokens-changed: info.prompt_tokens: 1000 is accepted, 360 came: -64%");
        assert_eq!(header_changes(&info("t", "c", 100), &info("t", "c", 120), 32), []);
    }
}
