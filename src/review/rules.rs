//! Match rules that are made of a chosen argument. Pure.

use super::State;
use super::argument::{Argument, arguments};
use super::state::Decision;
use crate::replay::{Acceptance, Kind};
use crate::snapshot::{Matching, Rule, RuleText, WayName};

impl State {
    /// Makes a rule of the argument: the strictest under which its values are equal. If there is one already, it becomes the next
    /// one that is less strict, and after the last it is gone. Outcomes that the rules make equal need not wait any longer.
    pub(super) fn turn_rule(&mut self, item: usize, argument: usize) {
        let arguments = arguments(&self.items[item]);
        let Some(argument) = arguments.get(argument).filter(|argument| argument.kind.is_some()) else {
            self.message = "choose an argument that differs".into();
            return;
        };
        let Some((tool, path)) = argument.rule_path.clone() else {
            self.message = "a rule is for arguments, and here the calls differ".into();
            return;
        };
        let rules = possible_rules(argument, &tool, &path);
        if rules.is_empty() {
            self.message = format!("no rule can name {path} of {tool}");
            return;
        }
        let made = self.marks.rules.iter().position(|rule| rule.tool.as_deref() == Some(&tool) && rule.path == path);
        let next = match made.map(|at| self.marks.rules.remove(at)) {
            None => rules.first(),
            Some(old) => rules.iter().find(|rule| rule.way > old.way),
        };
        self.marks.rules.extend(next.cloned());
        self.cover();
        self.message = match next.cloned().map(Rule::try_from) {
            Some(Ok(rule)) => format!("rule: {rule}; {} need not wait. m: a less strict one", self.count(Decision::Covered)),
            _ => format!("no rule for {path} of {tool}"),
        };
    }

    /// Marks what the rules make equal to what is accepted, unless something else was decided.
    fn cover(&mut self) {
        let rules = self.marks.rules.iter().cloned().filter_map(|rule| Rule::try_from(rule).ok());
        let matching = Matching { rules: self.matching.rules.iter().cloned().chain(rules).collect(), ..self.matching.clone() };
        for (item, decision) in self.items.iter().zip(&mut self.marks.decisions) {
            if decision.is_some_and(|decision| decision != Decision::Covered) {
                continue;
            }
            let has_other_prompt = item.findings.iter().any(|finding| finding.kind == Kind::PromptTokensChanged);
            let is_equal = Acceptance::new(item.accepted.as_ref(), &matching).accepts(&item.snapshot.outcome);
            *decision = (is_equal && !has_other_prompt && !self.marks.rules.is_empty()).then_some(Decision::Covered);
        }
    }
}

/// The rules under which the argument's values are equal, the strictest first.
fn possible_rules(argument: &Argument, tool: &str, path: &str) -> Vec<RuleText> {
    let rules = WayName::WITHOUT_PATTERN.map(|way| RuleText {
        tool: Some(tool.into()),
        path: path.into(),
        way,
        pattern: None,
        schema: None,
    });
    let equals = |rule: &RuleText| {
        Rule::try_from(rule.clone()).is_ok_and(|rule| match (&argument.accepted, &argument.found) {
            (Some(old), Some(new)) => rule.takes_for_equal(old, new),
            _ => rule.text().way == WayName::Ignore,
        })
    };
    rules.into_iter().filter(equals).collect()
}
