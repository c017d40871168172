//! The rows: what they take and how they refuse.

use crate::log::{
    ACCESS_DIRECTIVES, AccessEntry, AccessLogs, Agreed, DIRECTIVES, Destination, ErrorLogs, Escape,
    FILE_CACHE_DIRECTIVES, FORMAT_DIRECTIVES, FileCache, FileCaching, Formats, Level,
};
use fairlead_conf::{
    Block, Contexts, Cx, Diagnostic, Directive, Given, Level as Rows, Repeat, Severity, Span, Statement, Tree, Word,
};
use std::path::Path;
use std::time::Duration;

/// Puts the words after the name through the row's `set`; arity is the language's to check.
fn set<T>(rows: &[Directive<T>], into: &mut T, words: &[&str]) -> Result<(), Diagnostic> {
    let word = |text: &str| Word {
        text: text.into(),
        span: Span { end: text.len() as u32, ..Span::default() },
        quoted: false,
    };
    let row = rows.first().unwrap();
    let statement =
        Statement { name: word(row.name), args: words.iter().map(|text| word(text)).collect(), block: None::<Block> };
    let cx = Cx::new(Path::new("/prefix"), Path::new("/prefix/conf"));
    (row.set)(into, &Given { statement: &statement, cx: &cx, context: Contexts::HTTP })
}

fn refused<T: Default>(rows: &[Directive<T>], words: &[&str]) -> String {
    set(rows, &mut T::default(), words).unwrap_err().message
}

#[test]
fn error_log_takes_a_file_stderr_or_syslog_and_a_level() {
    let mut logs = ErrorLogs::default();
    for words in [&["logs/e.log"][..], &["/abs", "warn"], &["stderr", "debug"], &["syslog:server=127.0.0.1", "emerg"]] {
        set(DIRECTIVES, &mut logs, words).unwrap();
    }
    assert_eq!(
        logs.0,
        [
            (Destination::File("/prefix/logs/e.log".into()), Level::Error),
            (Destination::File("/abs".into()), Level::Warn),
            (Destination::Stderr, Level::Debug),
            (Destination::Syslog("server=127.0.0.1".into()), Level::Emerg),
        ]
    );
    let Repeat::List(clear) = DIRECTIVES[0].repeat else { panic!("inner levels replace outer ones") };
    clear(&mut logs);
    assert!(logs.0.is_empty());
}

#[test]
fn error_log_refuses_in_nginx_s_words() {
    for (words, message) in [
        (&["e.log", "loud"][..], "invalid log level \"loud\""),
        (&["e.log", "warn", "error"], "duplicate log level \"error\""),
        (&["e.log", "debug_http"], "\"debug_http\" is known to nginx, not built in fairlead yet"),
        (&["memory:32k"], "an error log in memory is known to nginx, not built in fairlead yet"),
        (&["syslog:tag=x"], "no syslog server specified"),
    ] {
        assert_eq!(refused(DIRECTIVES, words), message);
    }
}

#[test]
fn error_log_off_is_a_file_and_one_warning() {
    let cx = Cx::new(Path::new("/prefix"), Path::new("/prefix"));
    let mut logs = ErrorLogs::default();
    let tree = Tree::parse(Path::new("test.conf"), "error_log off;");
    Rows::<ErrorLogs>::new(Contexts::MAIN).with(DIRECTIVES, |logs| logs).eval(&tree.root, &mut logs, &cx);
    assert_eq!(logs.0, [(Destination::File("/prefix/off".into()), Level::Error)]);
    let said = cx.diagnostics.into_inner();
    assert_eq!(said.iter().map(|warning| warning.severity).collect::<Vec<_>>(), [Severity::Warning]);
}

#[test]
fn access_log_takes_all_its_parameters() {
    let mut logs = AccessLogs::default();
    assert!(logs.is_unset());
    set(ACCESS_DIRECTIVES, &mut logs, &["logs/a.log"]).unwrap();
    set(ACCESS_DIRECTIVES, &mut logs, &["/b.log", "main", "buffer=32k", "flush=5m", "if=$loggable"]).unwrap();
    set(ACCESS_DIRECTIVES, &mut logs, &["syslog:server=unix:/dev/log", "combined", "if=$a$b"]).unwrap();
    let [first, second, third] = logs.active() else { panic!("three: {logs:?}") };
    assert_eq!(first.destination, Destination::File("/prefix/logs/a.log".into()));
    assert!(first.format.is_none() && first.buffer.is_none() && first.condition.is_none());
    assert_eq!(&*second.format.as_ref().unwrap().text, "main");
    assert_eq!((second.buffer, second.flush), (Some(32768), Some(Duration::from_secs(300))));
    let condition = second.condition.as_ref().unwrap();
    assert_eq!((&*condition.text, condition.span.start, condition.span.end), ("$loggable", 3, 12));
    assert_eq!(third.destination, Destination::Syslog("server=unix:/dev/log".into()));
}

#[test]
fn access_log_off_silences_its_level() {
    let mut logs = AccessLogs::default();
    set(ACCESS_DIRECTIVES, &mut logs, &["a.log"]).unwrap();
    set(ACCESS_DIRECTIVES, &mut logs, &["off"]).unwrap();
    assert!(logs.active().is_empty() && !logs.is_unset());
    let Repeat::List(clear) = ACCESS_DIRECTIVES[0].repeat else { panic!("inner levels replace outer ones") };
    clear(&mut logs);
    set(ACCESS_DIRECTIVES, &mut logs, &["a.log"]).unwrap();
    assert_eq!(logs.active().len(), 1, "an inner level speaks for itself");
}

#[test]
fn access_log_refuses_in_nginx_s_words() {
    for (words, message) in [
        (&["off", "main"][..], "invalid parameter \"main\""),
        (&["a.log", "main", "colour=red"], "invalid parameter \"colour=red\""),
        (&["a.log", "main", "buffer=0"], "invalid buffer size \"0\""),
        (&["a.log", "main", "buffer=5x"], "invalid buffer size \"5x\""),
        (&["a.log", "main", "buffer=1k", "flush=soon"], "invalid flush time \"soon\""),
        (&["a.log", "main", "flush=5s"], "no buffer is defined for access_log \"a.log\""),
        (&["syslog:server=a", "main", "buffer=1k"], "logs to syslog cannot be buffered"),
        (&["a.log", "main", "gzip=0"], "invalid compression level \"0\""),
        (&["a.log", "main", "gzip=fast"], "invalid compression level \"fast\""),
        (&["syslog:server=a", "main", "gzip"], "logs to syslog cannot be buffered"),
        (&["logs/$host.log", "main", "buffer=1k"], "buffered logs cannot have variables in name"),
        (&["logs/$host.log", "main", "gzip"], "buffered logs cannot have variables in name"),
    ] {
        assert_eq!(refused(ACCESS_DIRECTIVES, words), message);
    }
}

#[test]
fn access_log_compresses_and_names_files_by_variables() {
    let mut logs = AccessLogs::default();
    set(ACCESS_DIRECTIVES, &mut logs, &["a.gz", "main", "gzip"]).unwrap();
    set(ACCESS_DIRECTIVES, &mut logs, &["b.gz", "main", "gzip=9", "buffer=1k"]).unwrap();
    set(ACCESS_DIRECTIVES, &mut logs, &["logs/$name.log", "main"]).unwrap();
    let [first, second, third] = logs.active() else { panic!("three: {logs:?}") };
    assert_eq!((first.gzip, first.buffer), (Some(1), Some(65536)));
    assert_eq!((second.gzip, second.buffer), (Some(9), Some(1024)));
    assert_eq!(&*third.template.as_ref().unwrap().text, "/prefix/logs/$name.log");
    let agreed = Agreed::default();
    assert!(agreed.check(first).is_ok() && agreed.check(first).is_ok() && agreed.check(second).is_ok());
    let other = AccessEntry { gzip: Some(2), ..first.clone() };
    let message = agreed.check(&other).unwrap_err().message;
    assert_eq!(message, "access_log \"a.gz\" already defined with conflicting parameters");
}

#[test]
fn open_log_file_cache_has_nginx_s_defaults_and_words() {
    let mut caching = FileCaching::default();
    set(FILE_CACHE_DIRECTIVES, &mut caching, &["max=7"]).unwrap();
    let seconds = Duration::from_secs;
    let expected = FileCache { max: 7, inactive: seconds(10), min_uses: 1, valid: seconds(60) };
    assert_eq!(caching.0, Some(expected));
    set(FILE_CACHE_DIRECTIVES, &mut caching, &["max=7", "inactive=1m", "min_uses=3", "valid=2s"]).unwrap();
    let expected = FileCache { max: 7, inactive: seconds(60), min_uses: 3, valid: seconds(2) };
    assert_eq!(caching.0, Some(expected));
    set(FILE_CACHE_DIRECTIVES, &mut caching, &["off"]).unwrap();
    assert_eq!(caching.0, None);
    for (words, message) in [
        (&["inactive=10s"][..], "\"open_log_file_cache\" must have \"max\" parameter"),
        (&["max=many"], "invalid \"open_log_file_cache\" parameter \"max=many\""),
        (&["max=1", "valid=x"], "invalid \"open_log_file_cache\" parameter \"valid=x\""),
        (&["max=1", "size=5"], "invalid \"open_log_file_cache\" parameter \"size=5\""),
    ] {
        assert_eq!(refused(FILE_CACHE_DIRECTIVES, words), message);
    }
}

#[test]
fn log_format_keeps_its_strings_and_its_escape() {
    let mut formats = Formats::default();
    set(FORMAT_DIRECTIVES, &mut formats, &["plain", "$a ", "$b"]).unwrap();
    set(FORMAT_DIRECTIVES, &mut formats, &["Json", "escape=json", "{}"]).unwrap();
    set(FORMAT_DIRECTIVES, &mut formats, &["raw", "escape=none", "$a"]).unwrap();
    let plain = formats.find("plain").unwrap();
    assert_eq!(plain.escape, Escape::Default);
    assert_eq!(plain.text.iter().map(|word| &*word.text).collect::<String>(), "$a $b");
    assert_eq!(formats.find("json").unwrap().escape, Escape::Json, "nginx finds formats whatever their case");
    assert_eq!(formats.find("raw").unwrap().escape, Escape::None);
    assert!(formats.find("combined").is_none());
    assert_eq!(
        set(FORMAT_DIRECTIVES, &mut formats, &["plain", "$c"]).unwrap_err().message,
        "duplicate \"log_format\" name \"plain\""
    );
    assert_eq!(refused(FORMAT_DIRECTIVES, &["x", "escape=html", "$c"]), "unknown log format escaping \"html\"");
}

/// Both logs of a level, as a plane holds them.
#[derive(Clone, Debug, Default)]
struct Scope {
    access: AccessLogs,
    error: ErrorLogs,
}

#[test]
fn inner_levels_inherit_until_they_speak_for_themselves() {
    let rows = |context| {
        Rows::<Scope>::new(context)
            .with(ACCESS_DIRECTIVES, |scope| &mut scope.access)
            .with(DIRECTIVES, |scope| &mut scope.error)
    };
    let cx = Cx::new(Path::new("/p"), Path::new("/p"));
    let eval = |scope: &Scope, context, text: &str| {
        let mut scope = scope.clone();
        let tree = Tree::parse(Path::new("test.conf"), text);
        assert!(tree.diagnostics.is_empty(), "{text}");
        rows(context).eval(&tree.root, &mut scope, &cx);
        (scope.access.active().len(), scope.error.0.len(), scope)
    };
    let (accesses, errors, http) = eval(
        &Scope::default(),
        Contexts::HTTP,
        "access_log a; access_log b main 'if=$x'; error_log e warn; error_log 'syslog:server=127.0.0.1,tag=x' crit;",
    );
    assert_eq!((accesses, errors), (2, 2));
    assert_eq!(&*http.access.active()[1].condition.as_ref().unwrap().text, "$x");
    let (accesses, errors, _) = eval(&http, Contexts::SERVER, "");
    assert_eq!((accesses, errors), (2, 2));
    let (accesses, errors, server) = eval(&http, Contexts::SERVER, "access_log off; error_log stderr;");
    assert_eq!((accesses, errors), (0, 1));
    let (accesses, ..) = eval(&server, Contexts::LOCATION, "access_log c main;");
    assert_eq!(accesses, 1);
    assert!(!cx.has_errors(), "{:?}", cx.diagnostics.borrow());
}
