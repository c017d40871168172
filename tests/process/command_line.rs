//! What the command line answers without serving.

use crate::{FAIRLEAD, setup};
use fairlead_harness::Setup;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(FAIRLEAD).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const GOOD: &str = "error_log stderr; events { } stream { server { listen 127.0.0.1:1; proxy_pass 127.0.0.1:9; } }";

#[test]
fn a_good_configuration_tests_well() {
    let (output, directory) = setup().run(&["-t"], GOOD);
    let file = directory.join("main.conf").display().to_string();
    let expected = format!(
        "fairlead: the configuration file {file} syntax is ok\n\
         fairlead: configuration file {file} test is successful\n"
    );
    assert_eq!((stderr(&output), output.status.code()), (expected, Some(0)));
    let (output, _) = setup().run(&["-tq"], GOOD);
    assert_eq!((stderr(&output), output.status.code()), (String::new(), Some(0)));
}

#[test]
fn every_mistake_is_told_in_one_run() {
    let text = "worker_processes none;\nworker_cpu_affinity 0102;\nload_module x.so;\ndaemn off;\nevents { worker_connections 0; }\n";
    let (output, directory) = setup().run(&["-t"], text);
    let said = stderr(&output);
    let file = directory.join("main.conf").display().to_string();
    for place in [":1:18", ":2:21", ":3:13", ":4:1", ":5:29"] {
        assert!(said.contains(&format!("in {file}{place}\n")), "{place} in\n{said}");
    }
    assert_eq!(said.matches("help: ").count(), 5, "{said}");
    assert!(said.ends_with(&format!("fairlead: configuration file {file} test failed\n")));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_dump_holds_every_file() {
    let (output, directory) = Setup::new(FAIRLEAD)
        .file("more.conf", "events { }\n")
        .run(&["-T", "-q"], "error_log stderr;\ninclude more.conf;\n");
    let (main, more) = (directory.join("main.conf"), directory.join("more.conf"));
    let expected = format!(
        "# configuration file {}:\nerror_log stderr;\ninclude more.conf;\n\n# configuration file {}:\nevents {{ }}\n\n",
        main.display(),
        more.display()
    );
    assert_eq!(stdout(&output), expected);
}

#[test]
fn a_test_does_not_mind_a_running_fairlead() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let text = format!("error_log stderr; stream {{ server {{ listen {listen}; proxy_pass 127.0.0.1:9; }} }}");
    assert!(setup().run(&["-t"], &text).0.status.success());
}

#[test]
fn help_teaches_and_explains_directives() {
    let help = run(&["-h"]);
    assert!(help.status.success() && stdout(&help).contains("-s reload"));
    let page = run(&["-h", "worker_shutdown_timeout"]);
    assert!(page.status.success() && stdout(&page).contains("graceful stop"), "{}", stdout(&page));
    let listen = stdout(&run(&["-h", "listen"]));
    for parameter in
        ["backlog=number: ", "rcvbuf=size: ", "ipv6only=on|off: ", "so_keepalive=on|off|[idle]:[interval]:[count]: "]
    {
        assert_eq!(listen.matches(parameter).count(), 2, "in both planes: {parameter} {listen}");
    }
    let unknown = run(&["-h", "qqqqqqqq"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stdout(&run(&["reference"])).contains("worker_processes"));
}

#[test]
fn versions_go_where_nginx_prints_them() {
    assert!(stderr(&run(&["-v"])).starts_with("fairlead version: fairlead/"));
    assert!(stderr(&run(&["-V"])).contains("built in: "));
}

#[test]
fn a_wrong_option_is_named() {
    let output = run(&["-x"]);
    assert_eq!(
        (stderr(&output), output.status.code()),
        ("fairlead: invalid option: \"x\"\nTry: fairlead -h\n".into(), Some(1))
    );
}

#[test]
fn the_files_that_are_shipped_test_well() {
    let root = env!("CARGO_MANIFEST_DIR");
    for file in std::fs::read_dir(format!("{root}/conf")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let output = run(&["-p", root, "-c", path.to_str().unwrap(), "-t"]);
            assert!(output.status.success(), "{}", stderr(&output));
        }
    }
}
