//! The command line: nginx's, and three words of our own (`-h DIRECTIVE`,
//! `reference`, `demo`). Pure: arguments in, what is wanted out.

use std::path::{Path, PathBuf};

/// What relative paths are relative to when `-p` says nothing.
pub const PREFIX: &str = "/etc/fairlead/";
/// The configuration file inside the prefix when `-c` says nothing.
pub const CONF: &str = "fairlead.conf";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cli {
    pub action: Action,
    pub prefix: Option<String>,
    pub conf: Option<String>,
    pub error_log: Option<String>,
    pub globals: Option<String>,
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Run,
    /// `-h`, or `-h DIRECTIVE`.
    Help(Option<String>),
    /// `-v`; `-V` with the details.
    Version {
        details: bool,
    },
    /// `-t`; `-T` with a dump of every file.
    Test {
        dump: bool,
    },
    Signal(Signal),
    /// Prints the reference of all directives.
    Reference,
    Demo(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Stop,
    Quit,
    Reopen,
    Reload,
}

impl Signal {
    fn from_name(name: &str) -> Option<Signal> {
        match name {
            "stop" => Some(Signal::Stop),
            "quit" => Some(Signal::Quit),
            "reopen" => Some(Signal::Reopen),
            "reload" => Some(Signal::Reload),
            _ => None,
        }
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// The message for the user, in nginx's words.
pub fn parse(args: &[String]) -> Result<Cli, String> {
    match args.first().map(String::as_str) {
        Some("demo") => {
            let rest = args.get(1..).unwrap_or_default().to_vec();
            return Ok(Cli { action: Action::Demo(rest), ..Cli::default() });
        }
        Some("reference") if args.len() == 1 => return Ok(Cli { action: Action::Reference, ..Cli::default() }),
        _ => {}
    }
    let mut cli = Cli::default();
    let mut args = args.iter().map(String::as_str).peekable();
    while let Some(arg) = args.next() {
        let Some(flags) = arg.strip_prefix('-') else {
            return Err(format!("invalid option: \"{arg}\""));
        };
        cli.flags(flags, &mut args)?;
    }
    Ok(cli)
}

impl Cli {
    /// One argument: flags up to the first that takes a value, which takes the rest of it
    /// or the next argument.
    fn flags<'a>(
        &mut self,
        flags: &'a str,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<(), String> {
        for (at, flag) in flags.char_indices() {
            match flag {
                '?' | 'h' => {
                    let topic = rest.next_if(|next| !next.starts_with('-'));
                    self.action = Action::Help(topic.map(str::to_owned));
                }
                'v' => self.show_version(false),
                'V' => self.show_version(true),
                't' => self.test(false),
                'T' => self.test(true),
                'q' => self.quiet = true,
                'p' | 'c' | 'e' | 'g' | 's' => {
                    let inside = flags.get(at + 1..).filter(|value| !value.is_empty());
                    let value = inside.or_else(|| rest.next()).ok_or_else(|| missing(flag))?;
                    return self.value(flag, value);
                }
                other => return Err(format!("invalid option: \"{other}\"")),
            }
        }
        Ok(())
    }

    fn value(&mut self, flag: char, value: &str) -> Result<(), String> {
        match flag {
            'p' => self.prefix = Some(value.to_owned()),
            'c' => self.conf = Some(value.to_owned()),
            'e' => self.error_log = Some(value.to_owned()),
            'g' => self.globals = Some(value.to_owned()),
            _ => {
                let signal = Signal::from_name(value).ok_or_else(|| format!("invalid option: \"-s {value}\""))?;
                self.action = Action::Signal(signal);
            }
        }
        Ok(())
    }

    /// Help has been asked for with it: help says the version too.
    fn show_version(&mut self, details: bool) {
        if !matches!(self.action, Action::Help(_) | Action::Version { details: true }) {
            self.action = Action::Version { details };
        }
    }

    fn test(&mut self, dump: bool) {
        match self.action {
            Action::Run => self.action = Action::Test { dump },
            Action::Test { dump: true } | Action::Help(_) | Action::Version { .. } | Action::Signal(_) => {}
            _ => self.action = Action::Test { dump },
        }
    }

    /// The files and folders this command line names, made absolute.
    pub fn invocation(&self, current_dir: &Path) -> Invocation {
        let absolute = |base: &Path, path: &str| -> PathBuf { base.join(path).components().collect() };
        let prefix = absolute(current_dir, self.prefix.as_deref().unwrap_or(PREFIX));
        let conf = absolute(&prefix, self.conf.as_deref().unwrap_or(CONF));
        Invocation { prefix, conf, error_log: self.error_log.clone(), globals: self.globals.clone() }
    }
}

fn missing(flag: char) -> String {
    let what = match flag {
        'p' => "directory name",
        'c' | 'e' => "file name",
        _ => "parameter",
    };
    format!("option \"-{flag}\" requires {what}")
}

/// Where everything of one run is; the worker process is given the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Absolute.
    pub prefix: PathBuf,
    /// Absolute.
    pub conf: PathBuf,
    /// `-e`: the error log when the configuration names none.
    pub error_log: Option<String>,
    /// `-g`.
    pub globals: Option<String>,
}

impl Invocation {
    pub fn conf_dir(&self) -> &Path {
        self.conf.parent().unwrap_or(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_may_be_written_together() {
        let cli = parsed("-tq -cfile -p /srv").unwrap();
        assert_eq!(cli.action, Action::Test { dump: false });
        assert!(cli.quiet);
        assert_eq!(cli.conf.as_deref(), Some("file"));
        assert_eq!(cli.prefix.as_deref(), Some("/srv"));
        assert_eq!(parsed("-qtc file").unwrap().conf.as_deref(), Some("file"));
    }

    #[test]
    fn a_value_is_the_rest_of_its_argument_or_the_next_one() {
        assert_eq!(parsed("-sreload").unwrap().action, Action::Signal(Signal::Reload));
        assert_eq!(parsed("-s quit").unwrap().action, Action::Signal(Signal::Quit));
        assert_eq!(parsed("-c -t").unwrap().conf.as_deref(), Some("-t"), "a value may begin with a dash");
    }

    #[test]
    fn mistakes_are_named_in_nginx_words() {
        for (line, message) in [
            ("-x", "invalid option: \"x\""),
            ("-tx", "invalid option: \"x\""),
            ("stop", "invalid option: \"stop\""),
            ("-s", "option \"-s\" requires parameter"),
            ("-g", "option \"-g\" requires parameter"),
            ("-p", "option \"-p\" requires directory name"),
            ("-c", "option \"-c\" requires file name"),
            ("-e", "option \"-e\" requires file name"),
            ("-s halt", "invalid option: \"-s halt\""),
        ] {
            assert_eq!(parsed(line).unwrap_err(), message, "{line}");
        }
    }

    #[test]
    fn help_takes_a_topic() {
        assert_eq!(parsed("-h").unwrap().action, Action::Help(None));
        assert_eq!(parsed("-?").unwrap().action, Action::Help(None));
        assert_eq!(parsed("-h proxy_pass").unwrap().action, Action::Help(Some("proxy_pass".into())));
        assert_eq!(parsed("-h -v").unwrap().action, Action::Help(None));
    }

    #[test]
    fn dumping_wins_over_testing() {
        for line in ["-T", "-tT", "-Tt", "-T -t"] {
            assert_eq!(parsed(line).unwrap().action, Action::Test { dump: true }, "{line}");
        }
    }

    #[test]
    fn a_relative_file_is_relative_to_the_prefix() {
        let here = Path::new("/home/me");
        let invocation = parsed("-p ./conf -c a/b.conf").unwrap().invocation(here);
        assert_eq!(invocation.prefix, Path::new("/home/me/conf"));
        assert_eq!(invocation.conf, Path::new("/home/me/conf/a/b.conf"));
        assert_eq!(invocation.conf_dir(), Path::new("/home/me/conf/a"));
        let invocation = parsed("").unwrap().invocation(here);
        assert_eq!(invocation.conf, Path::new("/etc/fairlead/fairlead.conf"));
    }
}
