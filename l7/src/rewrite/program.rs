//! Runs the rules of a server or of a location, top to bottom.

use super::condition::{Condition, Test};
use super::file_test;
use super::replacement::{Replacement, push_argument};
use super::{LocationBlock, Rules};
use crate::content;
use crate::exchange::Exchange;
use crate::plan::{Location, Return};
use crate::reply::Reply;
use crate::route::Pattern;
use crate::variables::Variable;
use fairlead_conf::Template;
use fairlead_conf::value::parse_size;
use fairlead_core::log::Level;
use fairlead_core::names::TooComplex;
use std::sync::Arc;

/// One rule without a block.
#[derive(Clone)]
pub(crate) enum Rule {
    Rewrite(Rewrite),
    Return(Return),
    Break,
    Set(Set),
}

#[derive(Clone)]
pub(crate) struct Rewrite {
    pub pattern: Pattern,
    /// The pattern as written, for the log.
    pub text: Box<str>,
    pub to: Replacement,
    pub then: Then,
}

/// What a `rewrite` that fits does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The rules below it run over the new path.
    GoOn,
    /// The search of a location begins anew.
    Last,
    /// The request stays where it is.
    Break,
    /// The client is sent there with this status.
    Redirect(u16),
}

#[derive(Clone)]
pub(crate) struct Set {
    pub target: SetTarget,
    pub value: Template<Variable>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SetTarget {
    /// `$args` is the query itself.
    Args,
    /// `$limit_rate`
    Rate,
    /// A variable of the configuration's own, by number.
    Custom(usize),
}

/// One compiled rule.
pub(crate) enum Step {
    Rule(Rule),
    If(Condition, Branch),
}

/// What is inside the braces of an `if`.
pub(crate) struct Branch {
    pub rules: Box<[Rule]>,
    /// In a location: what serves the request from now on, unless another `if` takes it over.
    pub location: Option<Arc<Location>>,
    pub log: bool,
    pub warn: bool,
}

/// The rules of a block in file order.
pub(crate) fn steps(rules: &Rules, branch: impl Fn(&LocationBlock) -> Branch) -> Box<[Step]> {
    let plain = rules.plain.iter().map(|(order, rule)| (*order, Step::Rule(rule.clone())));
    let ifs = rules.ifs.iter().map(|(order, condition, block)| (*order, Step::If(condition.clone(), branch(block))));
    let mut steps: Vec<(usize, Step)> = plain.chain(ifs).collect();
    steps.sort_by_key(|(order, _)| *order);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// Runs the rules of the exchange's location. A reply when one of them answers.
pub(super) async fn run(exchange: &mut Exchange) -> Result<(), Box<Reply>> {
    let location = exchange.location.clone();
    // Nothing is on its way to a peer yet: its buffer serves for what is worked out in between.
    let scratch = std::mem::take(&mut exchange.to_peer);
    let mut run = Run { exchange, log: location.rewrite_log, quote: true, scratch };
    let ended = run.steps(&location.rules).await;
    let mut scratch = std::mem::take(&mut run.scratch);
    scratch.clear();
    exchange.to_peer = scratch;
    ended
}

struct Run<'x> {
    exchange: &'x mut Exchange,
    /// `rewrite_log`.
    log: bool,
    /// As nginx: until the first `rewrite` that fits, groups in values are escaped like those of arguments.
    quote: bool,
    scratch: Vec<u8>,
}

/// Whether the rules below still run.
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Ended,
}

impl Run<'_> {
    async fn steps(&mut self, steps: &[Step]) -> Result<(), Box<Reply>> {
        for step in steps {
            let flow = match step {
                Step::Rule(rule) => self.rule(rule)?,
                Step::If(condition, branch) if self.holds(condition).await? => self.enter(branch)?,
                Step::If(..) => Flow::GoOn,
            };
            if flow == Flow::Ended {
                break;
            }
        }
        Ok(())
    }

    fn enter(&mut self, branch: &Branch) -> Result<Flow, Box<Reply>> {
        let outside = (self.log, self.exchange.warns_instead);
        self.log = branch.log;
        match &branch.location {
            Some(location) => self.exchange.location = location.clone(),
            None => self.exchange.warns_instead = Some(branch.warn),
        }
        for rule in &branch.rules {
            if self.rule(rule)? == Flow::Ended {
                return Ok(Flow::Ended);
            }
        }
        (self.log, self.exchange.warns_instead) = outside;
        Ok(Flow::GoOn)
    }

    fn rule(&mut self, rule: &Rule) -> Result<Flow, Box<Reply>> {
        match rule {
            Rule::Rewrite(rewrite) => self.rewrite(rewrite),
            Rule::Return(answer) => Err(content::answer(self.exchange, answer).into()),
            Rule::Break => {
                self.exchange.whole_uri |= std::mem::take(&mut self.exchange.uri_changed);
                Ok(Flow::Ended)
            }
            Rule::Set(set) => {
                self.set(set);
                Ok(Flow::GoOn)
            }
        }
    }

    fn set(&mut self, set: &Set) {
        let mut value = std::mem::take(&mut self.scratch);
        value.clear();
        self.render(&set.value, self.quote, &mut value);
        match set.target {
            SetTarget::Custom(number) => self.exchange.values.put(number, &value),
            SetTarget::Rate => match std::str::from_utf8(&value).ok().and_then(parse_size) {
                Some(rate) => self.exchange.limit_rate = Some(rate),
                None => {
                    let value = value.escape_ascii();
                    self.exchange.log(Level::Error, format_args!("invalid $limit_rate \"{value}\""));
                }
            },
            SetTarget::Args => {
                self.exchange.moved = true;
                self.exchange.made_args = Some(value.clone());
            }
        }
        self.scratch = value;
    }

    fn rewrite(&mut self, rule: &Rewrite) -> Result<Flow, Box<Reply>> {
        let matched = rule.pattern.try_matches(&self.exchange.uri, self.exchange.captures.get_mut());
        let subject = std::mem::take(&mut self.exchange.uri);
        let matched = self.matched(matched, &rule.text, &subject);
        self.exchange.uri = subject;
        if !matched? {
            return Ok(Flow::GoOn);
        }
        self.exchange.internal = true;
        self.exchange.moved = true;
        self.exchange.uri_changed = rule.then != Then::Break;
        self.exchange.whole_uri |= rule.then == Then::Break;
        self.quote = false;
        if let Then::Redirect(status) = rule.then {
            return Err(self.redirect(status, &rule.to).into());
        }
        self.replace(&rule.to)?;
        Ok(if rule.then == Then::GoOn { Flow::GoOn } else { Flow::Ended })
    }

    fn redirect(&mut self, status: u16, to: &Replacement) -> Reply {
        let mut target = Vec::new();
        self.render(&to.path, true, &mut target);
        to.finish_redirect(&mut target, self.exchange.query());
        if self.log {
            self.note(format_args!("rewritten redirect: \"{}\"", String::from_utf8_lossy(&target)));
        }
        content::redirect(self.exchange, status, target)
    }

    /// The new path and arguments.
    fn replace(&mut self, to: &Replacement) -> Result<(), Box<Reply>> {
        let mut path = std::mem::take(&mut self.scratch);
        path.clear();
        self.render(&to.path, false, &mut path);
        let mut args = to.args.as_ref().map(|template| {
            let mut args = Vec::new();
            self.render(template, true, &mut args);
            args
        });
        to.finish_args(&mut args, self.exchange.query());
        if args.is_some() {
            self.exchange.made_args = args;
        }
        self.scratch = std::mem::replace(&mut self.exchange.uri, path);
        if self.log {
            let (uri, args) = (&self.exchange.uri, self.exchange.query().unwrap_or_default());
            let (uri, args) = (String::from_utf8_lossy(uri), String::from_utf8_lossy(args));
            self.note(format_args!("rewritten data: \"{uri}\", args: \"{args}\""));
        }
        if self.exchange.uri.is_empty() {
            self.exchange.log(Level::Error, format_args!("the rewritten URI has a zero length"));
            return Err(self.exchange.refuse(500).into());
        }
        Ok(())
    }

    async fn holds(&mut self, condition: &Condition) -> Result<bool, Box<Reply>> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let holds = match &condition.test {
            Test::True(variable) => {
                self.exchange.push_value(variable, &mut text);
                Ok(!text.is_empty() && text != b"0")
            }
            Test::Equals(variable, value) => {
                self.exchange.push_value(variable, &mut text);
                let end = text.len();
                self.render(value, self.quote, &mut text);
                let (left, right) = text.split_at(end);
                Ok(left == right)
            }
            Test::Matches(variable, pattern, written) => {
                self.exchange.push_value(variable, &mut text);
                let matched = pattern.try_matches(&text, self.exchange.captures.get_mut());
                self.matched(matched, written, &text)
            }
            Test::File(kind, path) => {
                self.render(path, self.quote, &mut text);
                Ok(file_test::is(self.exchange, *kind, &text).await)
            }
        };
        self.scratch = text;
        Ok(holds? != condition.negated)
    }

    /// What becomes of a match, with its line in the log.
    fn matched(
        &mut self,
        matched: Result<bool, TooComplex>,
        pattern: &str,
        subject: &[u8],
    ) -> Result<bool, Box<Reply>> {
        match matched {
            Ok(matched) => {
                if matched {
                    self.exchange.keep_groups();
                } else {
                    self.exchange.captures.get_mut().numbered.clear();
                }
                if self.log {
                    let subject = String::from_utf8_lossy(subject);
                    let verdict = if matched { "matches" } else { "does not match" };
                    self.note(format_args!("\"{pattern}\" {verdict} \"{subject}\""));
                }
                Ok(matched)
            }
            Err(TooComplex) => {
                let subject = subject.escape_ascii();
                let message = format_args!("regex match failed: too complex on \"{subject}\" using \"{pattern}\"");
                self.exchange.log(Level::Alert, message);
                Err(self.exchange.refuse(500).into())
            }
        }
    }

    /// A line that `rewrite_log` asks for.
    fn note(&self, message: std::fmt::Arguments<'_>) {
        self.exchange.log(Level::Notice, message);
    }

    /// Appends a template's text. `quote`: groups are escaped if the client escaped anything in its path.
    fn render(&self, template: &Template<Variable>, quote: bool, out: &mut Vec<u8>) {
        let quote = quote && self.exchange.path_has(b"%+");
        template.render(out, |variable, out| match variable {
            Variable::Group(_) if quote => {
                let mut group = Vec::new();
                self.exchange.push_value(variable, &mut group);
                group.iter().for_each(|&byte| push_argument(byte, out));
            }
            _ => {
                self.exchange.push_value(variable, out);
            }
        });
    }
}
