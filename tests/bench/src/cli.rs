//! The command line and its environment: which scenarios, how long, against whom.

use std::str::FromStr;
use std::time::Duration;

use crate::Fault;
use crate::proxies::Product;
use crate::scenario::{self, Scenario};

pub const USAGE: &str = "\
Usage: fairlead-bench [SCENARIO...] [--rounds N] [--seconds S] [--proxies LIST] [--perf] [--syscalls]

Runs fairlead beside Debian's nginx and HAProxy: one worker each on CPU 0, load and peers on CPU 1, rounds interleaved.

  --rounds N       rounds of each proxy in each scenario (5; or ROUNDS=)
  --seconds S      seconds of a round (1.5; or SECONDS=)
  --proxies LIST   of nginx,haproxy,fairlead (and confined, with worker_seccomp on); ratios are to the first
  --perf           one more round under perf: where the CPU time went
  --syscalls       one more round under strace: system calls per operation
Scenarios (or ONLY=\"NAME...\"; those in brackets only when named):";

pub struct Options {
    pub scenarios: Vec<&'static Scenario>,
    pub rounds: usize,
    pub round: Duration,
    pub products: Vec<Product>,
    pub perf: bool,
    pub syscalls: bool,
}

pub fn usage() -> String {
    let name = |it: &Scenario| if it.by_default { it.name.to_owned() } else { format!("[{}]", it.name) };
    format!("{USAGE}\n  {}", scenario::ALL.iter().map(name).collect::<Vec<_>>().join(" "))
}

/// `None` when help was asked for.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Options>, Fault> {
    let mut args = args.peekable();
    let mut options = Options {
        scenarios: Vec::new(),
        rounds: from_environment("ROUNDS", 5)?,
        round: Duration::ZERO,
        products: Product::BY_DEFAULT.to_vec(),
        perf: false,
        syscalls: false,
    };
    let mut seconds: f64 = from_environment("SECONDS", 1.5)?;
    let mut names: Vec<String> = Vec::new();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--rounds" => options.rounds = number(&arg, &value()?)?,
            "--seconds" => seconds = number(&arg, &value()?)?,
            "--proxies" => options.products = value()?.split(',').map(product).collect::<Result<_, _>>()?,
            "--perf" => options.perf = true,
            "--syscalls" => options.syscalls = true,
            flag if flag.starts_with('-') => return Err(format!("no option is called {flag}\n{}", usage()).into()),
            _ => names.push(arg),
        }
    }
    if names.is_empty() {
        let only = std::env::var("ONLY").unwrap_or_default();
        names.extend(only.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    if !(0.1..=600.0).contains(&seconds) || options.rounds == 0 || options.products.is_empty() {
        return Err("a round lasts 0.1 to 600 seconds, and there is at least one, of at least one proxy".into());
    }
    options.round = Duration::from_secs_f64(seconds);
    options.scenarios = chosen(&names)?;
    Ok(Some(options))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Fault> {
    if names.is_empty() {
        return Ok(scenario::ALL.iter().filter(|it| it.by_default).collect());
    }
    let find = |name: &String| {
        let found = scenario::ALL.iter().find(|it| it.name == name);
        found.ok_or_else(|| Fault::from(format!("no scenario is called {name}\n{}", usage())))
    };
    names.iter().map(find).collect()
}

fn product(name: &str) -> Result<Product, Fault> {
    let found = Product::ALL.into_iter().find(|product| product.name() == name);
    found.ok_or_else(|| format!("no proxy is called {name}: nginx, haproxy, fairlead, confined").into())
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| format!("{name} wants a number, not {text}").into())
}

fn from_environment<T: FromStr>(name: &str, default: T) -> Result<T, Fault> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => number(name, &text),
        _ => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Option<Options>, Fault> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn scenarios_and_options_stand_in_any_order() {
        let options = options("tcp_rr --rounds 3 --proxies fairlead,nginx http_small --seconds 0.5").ok().flatten();
        let options = options.unwrap_or_else(|| panic!("refused"));
        assert_eq!(options.scenarios.iter().map(|it| it.name).collect::<Vec<_>>(), ["tcp_rr", "http_small"]);
        assert_eq!((options.rounds, options.round), (3, Duration::from_millis(500)));
        assert_eq!(options.products, [Product::Fairlead, Product::Nginx]);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (line, name) in [("tcp_r", "tcp_r"), ("--round 3", "--round"), ("--proxies envoy", "envoy")] {
            let refusal = options(line).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(refusal.contains(&format!("is called {name}")), "{line}: {refusal}");
        }
        assert!(options("--seconds 0").is_err() && options("--rounds x").is_err() && options("--rounds").is_err());
    }
}
